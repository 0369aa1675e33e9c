#include "api/cluster.h"

#include "api/encode.h"
#include "base/varint.h"

namespace keelson::api {
namespace {

std::string encode(const membership::Member& member) {
  std::string out;
  base::put_varint_field(out, 1, member.id);
  base::put_bytes_field(out, 2, member.name);
  for (const std::string& url : member.peer_urls) base::put_message_field(out, 3, url);
  for (const std::string& url : member.client_urls) base::put_message_field(out, 4, url);
  base::put_varint_field(out, 5, member.is_learner ? 1 : 0);
  return out;
}

class MemberListCall : public RequestHandler<etcdserverpb::MemberListRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    auto& front = context_.front;
    if (!request_.linearizable() || front.view()->linearizable) return list(*front.view());
    waiting_ = front.barrier([this](auto view) {
      waiting_ = 0;
      if (!view) return refuse(view.error());
      list(**view);
    });
  }
  void list(const member::View& view) {
    // The revision is not told by this service: api.md 1.6.
    std::string out = header_only(context_.header(0, view.applied_term));
    for (const auto& member : view.roster->members) base::put_message_field(out, 2, encode(member));
    answer(std::move(out));
  }
};

}  // namespace

void add_cluster(http::Router& router, Context& context) {
  constexpr std::string_view kService = "etcdserverpb.Cluster";
  using enum http::MethodKind;
  add_method<MemberListCall>(router, context, kService, "MemberList", kUnary);
  for (const std::string_view name :
       {"MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"}) {
    add_missing(router, context, kService, name, kUnary);
  }
}

}  // namespace keelson::api
