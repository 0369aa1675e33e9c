#include "api/context.h"

#include <google/protobuf/unknown_field_set.h>

namespace keelson::api {
namespace {

class MissingCall : public http::CallHandler {
 public:
  MissingCall(http::Call& call, std::string name) : call_(call), name_(std::move(name)) {}
  void on_message(http::Message) override {
    call_.finish({http::StatusCode::kUnimplemented, "keelson: " + name_ + " is not there yet"});
  }

 private:
  http::Call& call_;
  const std::string name_;
};

}  // namespace

http::Status unparsable(http::MethodKind kind, std::string_view bytes) {
  http::Status status = http::unparsable_message(kind);
  // The wire is in order, so a text was not: etcd's library names that.
  google::protobuf::UnknownFieldSet fields;
  if (fields.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    status.message = kind == http::MethodKind::kUnary
                         ? "grpc: error unmarshalling request: string field contains invalid UTF-8"
                         : "grpc: failed to unmarshal the received message: string field contains "
                           "invalid UTF-8";
  }
  return status;
}

Header Context::header(std::int64_t revision, raft::Term term) const {
  return {.cluster_id = front.identity().cluster_id,
          .member_id = front.identity().member_id,
          .revision = revision,
          .raft_term = term};
}
Header Context::header(const member::View& view) const {
  return header(view.keys.revision, view.applied_term);
}
Header Context::header() const { return header(*front.view()); }
Header Context::header(const member::Reply& reply) const {
  return header(reply.revision, reply.term);
}

void add_method(http::Router& router, Context& context, std::string_view service,
                std::string_view name, http::MethodKind kind, http::HandlerFactory make,
                ForLearner for_learner) {
  auto stats = router.add(service, name, kind,
                          context.metrics.gate(kind, for_learner, std::move(make), context.front));
  context.metrics.watch(service, name, kind, std::move(stats));
}

void add_missing(http::Router& router, Context& context, std::string_view service,
                 std::string_view name, http::MethodKind kind) {
  add_method(router, context, service, name, kind,
             [name = std::string(name)](http::Call& call) -> std::unique_ptr<http::CallHandler> {
               return std::make_unique<MissingCall>(call, name);
             });
}

}  // namespace keelson::api
