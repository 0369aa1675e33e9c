#include "peer/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "env/log.h"
#include "http/http1_client.h"
#include "membership/member.h"
#include "peer/protocol.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

constexpr std::string_view kName = "pipeline";
constexpr std::size_t kAnswerBytesMax = 4096;
// etcd closes after 5 s.
constexpr base::Duration kKeepTime = base::Seconds(3);

}  // namespace

// One message on its way, and the connection it goes by.
class Pipeline::Post final : private http::ResponseHandler {
 public:
  explicit Post(Pipeline& owner) : owner_(owner), link_(owner.link_) {}
  ~Post() override {
    if (timer_ != 0) link_.context.lane.cancel(timer_);
  }

  bool busy() const { return message_.has_value(); }

  void begin(raft::Message message) {
    if (timer_ != 0) link_.context.lane.cancel(std::exchange(timer_, 0));
    message_ = std::move(message);
    std::string body;
    body.reserve(raft::encoded_size(*message_));
    raft::encode(*message_, body);
    body_ = base::SharedBytes(std::move(body));
    const bool kept =
        client_ && client_->idle() && !link_.picker.empty() && url_ == link_.picker.pick();
    kept ? send(/*on_kept_connection=*/true) : dial();
  }

 private:
  void dial() {
    if (link_.picker.empty()) return fail("no peer URL");
    url_ = link_.picker.pick();
    client_.reset();
    link_.dial(url_, alive_, [this](Dialled dialled) {
      if (!dialled) return fail(dialled.error().message());
      client_ = *std::move(dialled);
      send(/*on_kept_connection=*/false);
    });
  }

  void send(bool on_kept_connection) {
    const Options& options = link_.context.options;
    may_send_again_ = on_kept_connection && message_->type != raft::MessageType::kProp;
    status_ = 0;
    answer_.clear();
    http::Headers headers = link_.context.headers;
    headers.add("Content-Type", "application/protobuf");
    client_->start({.method = "POST",
                    .target = std::string(kRaftPath),
                    .host = url_.host,
                    .headers = std::move(headers),
                    .body = body_,
                    .timeouts = {.send = options.write_timeout,
                                 .head = 2 * options.read_timeout,
                                 .body = options.read_timeout}},
                   *this);
  }

  void on_head(const http::ResponseHead& head) override {
    status_ = head.status;
    remote_cluster_id_ = head.headers.find(kClusterId).value_or("");
  }
  void on_body(std::string_view bytes) override {
    answer_ += bytes.substr(0, kAnswerBytesMax - std::min(answer_.size(), kAnswerBytesMax));
  }
  void on_failed(const http::RequestFailure& failure) override {
    if (failure.unanswered && may_send_again_) return dial();
    fail(failure.error.message());
  }

  void on_end() override {
    switch (post_outcome(status_, answer_)) {
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
             {"remote-peer-cluster-id", remote_cluster_id_},
             {"local-member-cluster-id", membership::id_text(link_.context.options.cluster_id)}});
        return fail(kClusterIdMismatch);
      case PostOutcome::kOther:
        return fail(fmt::format("unexpected http status {} while posting", status_));
    }
  }

  void fail(std::string_view reason) {
    link_.picker.unreachable(url_);
    finish(false, reason);
  }

  void finish(bool ok, std::string_view reason) {
    const raft::Message message = *std::exchange(message_, std::nullopt);
    body_ = {};
    if (!ok) client_.reset();
    if (client_) {
      timer_ = link_.context.lane.after(kKeepTime, [this] {
        timer_ = 0;
        client_.reset();
      });
    }
    owner_.on_done(message, ok, reason);
    owner_.start_next(*this);
  }

  Pipeline& owner_;
  Link& link_;
  std::optional<raft::Message> message_;
  base::SharedBytes body_;
  membership::Url url_;
  std::unique_ptr<http::Http1Client> client_;
  env::TimerId timer_ = 0;  // until the connection is closed for being idle
  bool may_send_again_ = false;
  int status_ = 0;
  std::string answer_;
  std::string remote_cluster_id_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
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
