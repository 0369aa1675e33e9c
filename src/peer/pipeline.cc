#include "peer/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "env/log.h"
#include "membership/member.h"
#include "peer/kept_connection.h"
#include "peer/protocol.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

constexpr std::string_view kName = "pipeline";

}  // namespace

// One message on its way, and the connection it goes by.
class Pipeline::Post {
 public:
  explicit Post(Pipeline& owner)
      : owner_(owner),
        link_(owner.link_),
        connection_(link_.context.lane, link_.context.connector, {}) {}

  bool busy() const { return message_.has_value(); }

  void begin(raft::Message message) {
    message_ = std::move(message);
    if (link_.picker.empty()) return fail("no peer URL");
    url_ = link_.picker.pick();
    connection_.ask({.url = url_,
                     .request = request(),
                     .dial_timeout = link_.context.options.dial_timeout,
                     .may_arrive_twice = message_->type != raft::MessageType::kProp},
                    [this](const base::Result<Answered, NoAnswer>& answered) {
                      answered ? on_answer(*answered) : fail(answered.error().error.message());
                    });
  }

 private:
  http::ClientRequest request() const {
    const Options& options = link_.context.options;
    std::string body;
    body.reserve(raft::encoded_size(*message_));
    raft::encode(*message_, body);
    http::Headers headers = link_.context.headers;
    headers.add("Content-Type", "application/protobuf");
    return {.method = "POST",
            .target = std::string(kRaftPath),
            .headers = std::move(headers),
            .body = base::SharedBytes(std::move(body)),
            .timeouts = {.send = options.write_timeout,
                         .head = 2 * options.read_timeout,
                         .body = options.read_timeout}};
  }

  void on_answer(const Answered& answered) {
    switch (post_outcome(answered.status, answered.body)) {
      case PostOutcome::kOk:
        return finish(true, "");
      case PostOutcome::kMemberRemoved:
        fail(kMemberRemoved);
        return link_.context.handler.on_member_removed(link_.id);
      case PostOutcome::kIncompatibleVersion:
        env::log_error("request sent was ignored by peer", {{"remote-peer-id", link_.id_text}});
        return fail(kIncompatibleVersion);
      case PostOutcome::kClusterIdMismatch:
        env::log_error(
            "request sent was ignored due to cluster ID mismatch",
            {{"remote-peer-id", link_.id_text},
             {"remote-peer-cluster-id", answered.headers.find(kClusterId).value_or("")},
             {"local-member-cluster-id", membership::id_text(link_.context.options.cluster_id)}});
        return fail(kClusterIdMismatch);
      case PostOutcome::kOther:
        return fail(fmt::format("unexpected http status {} while posting", answered.status));
    }
  }

  void fail(std::string_view reason) {
    link_.picker.unreachable(url_);
    finish(false, reason);
  }

  void finish(bool ok, std::string_view reason) {
    const raft::Message message = *std::exchange(message_, std::nullopt);
    if (!ok) connection_.drop();
    owner_.on_done(message, ok, reason);
    owner_.start_next(*this);
  }

  Pipeline& owner_;
  Link& link_;
  std::optional<raft::Message> message_;
  membership::Url url_;
  KeptConnection connection_;
};

Pipeline::Pipeline(Link& link) : link_(link) {
  for (std::size_t i = 0; i < link.context.options.limits.posts_max; ++i) {
    posts_.push_back(std::make_unique<Post>(*this));
  }
}

Pipeline::~Pipeline() = default;

bool Pipeline::push(raft::Message&& message) {
  if (link_.picker.empty() || queue_.size() >= link_.context.options.limits.pipeline_messages_max) {
    return false;
  }
  queue_.push_back(std::move(message));
  const auto idle = std::ranges::find_if(posts_, [](const auto& post) { return !post->busy(); });
  if (idle != posts_.end()) start_next(**idle);
  return true;
}

void Pipeline::start_next(Post& post) {
  if (queue_.empty() || post.busy()) return;
  raft::Message message = std::move(queue_.front());
  queue_.pop_front();
  post.begin(std::move(message));
}

void Pipeline::on_done(const raft::Message& message, bool ok, std::string_view reason) {
  const bool snapshot = message.type == raft::MessageType::kSnap;
  if (ok) {
    link_.activate();
    link_.stats.sent_bytes.add(raft::encoded_size(message));
  } else {
    link_.deactivate("write", kName, reason);
    link_.sending_failed();
  }
  if (snapshot) {
    link_.context.handler.on_snapshot_sent(
        link_.id, ok ? SnapshotOutcome::kFinished : SnapshotOutcome::kFailed);
  }
}

}  // namespace keelson::peer
