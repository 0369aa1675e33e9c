#include "peer/requests.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "env/log.h"
#include "membership/member.h"
#include "peer/protocol.h"
#include "peer/snapshot.h"
#include "raft/describe.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

using membership::id_text;

http::Response with_cluster_id(const Context& context, http::Response response) {
  response.headers.add(std::string(kClusterId), id_text(context.options.cluster_id));
  return response;
}

http::Response text(const Context& context, int status, std::string_view words) {
  return with_cluster_id(context, http::text_response(status, words));
}

std::optional<http::Response> refused(const Context& context, const http::Request& request) {
  const auto why = refusal(context.options, request.headers);
  if (!why) return std::nullopt;
  const auto field = [&](std::string_view name) {
    return std::string(request.headers.find(name).value_or(""));
  };
  env::log_warn(
      why == kClusterIdMismatch ? "request cluster ID mismatch"
                                : "failed version compatibility check",
      {{"local-member-id", id_text(context.options.member_id)},
       {"local-member-cluster-id", id_text(context.options.cluster_id)},
       {"local-member-server-version", context.options.server_version.text()},
       {"local-member-server-minimum-cluster-version", context.options.min_cluster_version.text()},
       {"remote-peer-server-name", field(kServerFrom)},
       {"remote-peer-server-version", field(kServerVersion)},
       {"remote-peer-server-minimum-cluster-version", field(kMinClusterVersion)},
       {"remote-peer-cluster-id", field(kClusterId)}});
  return text(context, 412, *why);
}

void note_sender(Directory& directory, const http::Request& request) {
  Sender sender = sender_of(request.headers);
  if (sender.id && !sender.peer_urls.empty()) {
    directory.note_sender(*sender.id, std::move(sender.peer_urls));
  }
}

// Calls back when nothing has come for a while. Looks again when it fires, so that bytes in flow
// touch no timer.
class StallTimer {
 public:
  StallTimer(env::Lane& lane, base::Duration patience, base::Job on_stall)
      : lane_(lane), patience_(patience), on_stall_(std::move(on_stall)) {
    touch();
    arm();
  }
  ~StallTimer() {
    if (timer_ != 0) lane_.cancel(timer_);
  }
  StallTimer(const StallTimer&) = delete;
  StallTimer& operator=(const StallTimer&) = delete;

  void touch() { touched_at_ = lane_.clock().now(); }
  // While it is we who do not read.
  void hold() { held_ = true; }
  void release() {
    held_ = false;
    touch();
  }

 private:
  void arm() {
    timer_ = lane_.at(std::max(touched_at_, armed_at_) + patience_, [this] { on_timer(); });
    armed_at_ = lane_.clock().now();
  }
  void on_timer() {
    timer_ = 0;
    if (!held_ && lane_.clock().now() >= touched_at_ + patience_) {
      base::Job on_stall = std::move(on_stall_);  // which ends this
      return on_stall();
    }
    armed_at_ = held_ ? lane_.clock().now() : touched_at_;
    arm();
  }

  env::Lane& lane_;
  const base::Duration patience_;
  base::Job on_stall_;
  base::TimePoint touched_at_;
  base::TimePoint armed_at_{};
  bool held_ = false;
  env::TimerId timer_ = 0;
};

// GET /raft/stream/<kind>/<from>
// -------------------------------------------------------------------

class StreamRequest final : public http::RequestHandler, private OutgoingStream {
 public:
  explicit StreamRequest(std::weak_ptr<Directory> directory) : directory_(std::move(directory)) {}
  ~StreamRequest() override { lose(); }

  void on_request(http::Exchange& exchange) override {
    exchange_ = &exchange;
    const auto directory = directory_.lock();
    if (!directory) return exchange.abort();
    if (auto response = check(*directory)) {
      response->headers.add(std::string(kServerVersion),
                            directory->context().options.server_version.text());
      return exchange.respond(*std::move(response));
    }
    const Options& options = directory->context().options;
    exchange.start(200, {{std::string(kServerVersion), options.server_version.text()},
                         {std::string(kClusterId), id_text(options.cluster_id)}});
    writer_ = &directory->find_peer(from_)->writer(kind_);
    writer_->attach(*this);
  }
  void on_cancelled() override { lose(); }
  void on_drained() override {
    if (writer_ != nullptr) writer_->on_drained();
  }

 private:
  http::Exchange& exchange() override { return *exchange_; }
  void on_detached() override { writer_ = nullptr; }

  void lose() {
    if (StreamWriter* const writer = writer_) writer->on_lost("connection lost");
  }

  // The answer if it is not to be served; else kind_ and from_ are set.
  std::optional<http::Response> check(Directory& directory) {
    const Context& context = directory.context();
    const http::Request& request = exchange_->request();
    if (auto response = refused(context, request)) return response;
    std::string_view path = request.path;
    path.remove_prefix(kStreamPath.size());
    const auto slash = std::min(path.find('/'), path.size());
    const std::string_view kind = path.substr(0, slash);
    const bool msgapp = kind == path_name(StreamKind::kMsgApp);
    if ((!msgapp && kind != path_name(StreamKind::kMessage)) || slash == path.size()) {
      return text(context, 404, "invalid path");
    }
    kind_ = msgapp ? StreamKind::kMsgApp : StreamKind::kMessage;
    const auto from = membership::parse_id(path.substr(slash + 1));
    if (!from) return text(context, 404, "invalid from");
    from_ = *from;
    return check_sender(directory);
  }

  std::optional<http::Response> check_sender(Directory& directory) {
    const Context& context = directory.context();
    const http::Request& request = exchange_->request();
    const auto warn = [&](std::string_view message) {
      env::log_warn(message, {{"local-member-id", id_text(context.options.member_id)},
                              {"remote-peer-id-from", id_text(from_)},
                              {"cluster-id", id_text(context.options.cluster_id)}});
    };
    if (context.handler.is_removed(from_)) {
      warn("rejected stream from remote peer because it was removed");
      return text(context, 410, "removed member");
    }
    if (directory.find_peer(from_) == nullptr) {
      // Of another cluster of the same id, or newer than what this member knows of the cluster.
      Sender sender = sender_of(request.headers);
      if (!sender.peer_urls.empty()) directory.note_sender(from_, std::move(sender.peer_urls));
      warn("failed to find remote peer in cluster");
      return text(context, 404, "error sender not found");
    }
    if (request.headers.find(kRaftTo) != id_text(context.options.member_id)) {
      warn("ignored streaming request; ID mismatch");
      return text(context, 412, "to field mismatch");
    }
    return std::nullopt;
  }

  const std::weak_ptr<Directory> directory_;
  http::Exchange* exchange_ = nullptr;
  StreamWriter* writer_ = nullptr;
  StreamKind kind_ = StreamKind::kMessage;
  raft::NodeId from_ = raft::kNone;
};

// POST /raft
// -----------------------------------------------------------------------------------------

class MessageRequest final : public http::RequestHandler {
 public:
  explicit MessageRequest(std::weak_ptr<Directory> directory) : directory_(std::move(directory)) {}
  ~MessageRequest() override { release(); }

  void on_request(http::Exchange& exchange) override {
    exchange_ = &exchange;
    const auto directory = directory_.lock();
    if (!directory) return exchange.abort();
    if (auto response = refused(directory->context(), exchange.request())) {
      return exchange.respond(*std::move(response));
    }
    note_sender(*directory, exchange.request());
    stall_.emplace(directory->context().lane, directory->context().options.read_timeout,
                   [this] { fail_reading("i/o timeout"); });
  }

  void on_body(std::string_view bytes) override {
    const auto directory = directory_.lock();
    if (!directory) return exchange_->abort();
    if (!stall_) return;
    stall_->touch();
    const auto& limits = directory->context().options.limits;
    if (bytes.size() > limits.message_bytes_max - body_.size() ||
        !directory->add_post_bytes(bytes.size())) {
      return fail_reading("too large");
    }
    body_.append(bytes);
  }

  void on_body_end() override {
    const auto directory = directory_.lock();
    if (!directory) return exchange_->abort();
    if (!stall_) return;
    stall_.reset();
    process(*directory);
  }

  void on_cancelled() override { stall_.reset(); }

 private:
  void release() {
    if (const auto directory = directory_.lock()) directory->remove_post_bytes(body_.size());
    body_.clear();
  }

  void fail_reading(std::string_view why) {
    stall_.reset();
    release();
    const auto directory = directory_.lock();
    if (!directory) return exchange_->abort();
    answer_failure(directory->context(), "failed to read Raft message", why, 400,
                   "error reading raft message");
  }

  void answer_failure(Context& context, std::string_view line, std::string_view why, int status,
                      std::string_view words) {
    env::log_warn(line, {{"local-member-id", id_text(context.options.member_id)}, {"error", why}});
    context.stats.of(sender_of(exchange_->request().headers).id.value_or(raft::kNone))
        .received_failures.add();
    exchange_->respond(text(context, status, words));
  }

  void process(Directory& directory) {
    Context& context = directory.context();
    const std::size_t size = body_.size();
    const base::SharedBytes bytes(std::exchange(body_, {}));
    directory.remove_post_bytes(size);
    auto message = raft::decode_message(bytes);
    if (!message) {
      return answer_failure(context, "failed to unmarshal Raft message", "malformed", 400,
                            "error unmarshalling raft message");
    }
    context.stats.of(message->from).received_bytes.add(size);
    if (message->type == raft::MessageType::kSnap) {
      return break_off(context, "a snapshot without its file");
    }
    if (directory.is_cut(message->from)) return answer_ok(context);
    const Verdict verdict = context.deliver(*std::move(message));
    const bool ok = verdict == Verdict::kTaken || verdict == Verdict::kIgnored;
    ok ? answer_ok(context) : break_off(context, describe(verdict));
  }

  void answer_ok(const Context& context) {
    exchange_->respond(with_cluster_id(context, {.status = 204}));
  }

  // As etcd does when its raft takes nothing: the status, and the connection ends midway.
  void break_off(const Context& context, std::string_view why) {
    env::log_warn("failed to process Raft message",
                  {{"local-member-id", id_text(context.options.member_id)}, {"error", why}});
    http::Response response = text(context, 500, "error processing raft message");
    exchange_->start(response.status, std::move(response.headers));
    exchange_->write(std::move(response.body));
    exchange_->abort();
  }

  const std::weak_ptr<Directory> directory_;
  http::Exchange* exchange_ = nullptr;
  std::optional<StallTimer> stall_;  // while the body comes
  std::string body_;
};

// POST /raft/snapshot
// --------------------------------------------------------------------------------

//   Length --8 bytes--> Message --whole, opened--> File --end--> Finishing --durable, stepped-->
//   204
//     any --refused, failed, stalled--> answered; the sink goes unfinished
class SnapshotRequest final : public http::RequestHandler {
 public:
  explicit SnapshotRequest(std::weak_ptr<Directory> directory) : directory_(std::move(directory)) {}
  ~SnapshotRequest() override { end(); }

  void on_request(http::Exchange& exchange) override {
    exchange_ = &exchange;
    const auto directory = directory_.lock();
    if (!directory) return exchange.abort();
    Context& context = directory->context();
    started_at_ = context.now();
    if (auto response = refused(context, exchange.request())) {
      context.stats.of(raft::kNone).snapshot_receive_failures.add();
      return exchange.respond(*std::move(response));
    }
    note_sender(*directory, exchange.request());
    state_ = State::kLength;
    stall_.emplace(context.lane, context.options.read_timeout, [this] { on_stall(); });
  }

  void on_body(std::string_view bytes) override {
    const auto directory = directory_.lock();
    if (!directory) return exchange_->abort();
    if (stall_) stall_->touch();
    while (!bytes.empty() && (state_ == State::kLength || state_ == State::kMessage)) {
      const std::size_t missing = static_cast<std::size_t>(wanted_) - head_.size();
      const std::string_view part = bytes.substr(0, missing);
      head_.append(part);
      bytes.remove_prefix(part.size());
      if (head_.size() == wanted_) take_head(*directory);
    }
    if (state_ != State::kFile || bytes.empty()) return;
    piece_.append(bytes);
    pump(directory->context());
  }

  void on_body_end() override {
    const auto directory = directory_.lock();
    if (!directory) return exchange_->abort();
    if (state_ == State::kLength || state_ == State::kMessage) {
      return fail_decoding(directory->context(), head_.empty() ? "EOF" : "unexpected EOF");
    }
    if (state_ != State::kFile) return;
    stall_.reset();
    body_ended_ = true;
    pump(directory->context());
  }

  void on_cancelled() override {
    if (const auto directory = directory_.lock(); directory && state_ != State::kDone) {
      stats(directory->context()).snapshot_receive_failures.add();
      if (state_ == State::kFile || state_ == State::kFinishing) {
        warn(directory->context(), "failed to save incoming database snapshot", "connection lost");
      }
    }
    end();
  }

 private:
  enum class State { kLength, kMessage, kFile, kFinishing, kDone };

  PeerStats& stats(Context& context) const { return context.stats.of(message_.from); }

  void warn(const Context& context, std::string_view line, std::string_view why) const {
    env::log_warn(line, {{"local-member-id", id_text(context.options.member_id)},
                         {"remote-snapshot-sender-id", id_text(message_.from)},
                         {"incoming-snapshot-index", index()},
                         {"error", why}});
  }

  raft::Index index() const {
    return message_.snapshot ? message_.snapshot->metadata.index : raft::Index{0};
  }

  // The length, or the message, is whole.
  void take_head(Directory& directory) {
    Context& context = directory.context();
    if (state_ == State::kLength) {
      wanted_ = 0;
      for (const char byte : std::exchange(head_, {})) {
        wanted_ = wanted_ << 8 | static_cast<std::uint8_t>(byte);
      }
      if (wanted_ > context.options.limits.snapshot_message_bytes_max) {
        return fail_decoding(context, "rafthttp: error limit exceeded");
      }
      state_ = State::kMessage;
      if (wanted_ > 0) return;
    }
    auto message = raft::decode_message(base::SharedBytes(std::exchange(head_, {})));
    if (!message) return fail_decoding(context, "malformed");
    message_ = *std::move(message);
    open(directory);
  }

  void open(Directory& directory) {
    Context& context = directory.context();
    stats(context).received_bytes.add(wanted_);
    if (message_.type != raft::MessageType::kSnap) {
      warn(context, "unexpected Raft message type", raft::describe(message_.type));
      return refuse(context, text(context, 400, "wrong raft message type"));
    }
    if (index() == 0) return fail_decoding(context, "no snapshot");
    const Verdict verdict =
        directory.is_cut(message_.from) ? Verdict::kIgnored : context.judge(message_);
    if (verdict != Verdict::kTaken) return fail_processing(context, verdict);
    auto sink = context.handler.open_snapshot(message_);
    if (!sink) return fail_saving(context, sink.error().message());
    sink_ = *std::move(sink);
    state_ = State::kFile;
    stats(context).snapshot_receives_started.add();
    receiving_ = true;
    env::log_info("receiving database snapshot",
                  {{"local-member-id", id_text(context.options.member_id)},
                   {"remote-snapshot-sender-id", id_text(message_.from)},
                   {"incoming-snapshot-index", index()},
                   {"incoming-snapshot-message-size-bytes", wanted_}});
  }

  // Gives what has gathered to the sink, if it is not busy; makes the peer wait if there is too
  // much.
  void pump(Context& context) {
    if (state_ != State::kFile) return;
    if (!writing_ && !piece_.empty()) {
      writing_ = true;
      const std::size_t size = piece_.size();
      sink_->write(base::SharedBytes(std::exchange(piece_, {})), when_done(&Self::on_written));
      file_bytes_ += size;
    }
    if (!writing_ && body_ended_) {
      state_ = State::kFinishing;
      return sink_->finish(when_done(&Self::on_finished));
    }
    if (!paused_ && piece_.size() >= context.options.limits.snapshot_piece_bytes) pause(true);
  }

  void pause(bool paused) {
    if (std::exchange(paused_, paused) == paused) return;
    paused ? exchange_->pause_reading() : exchange_->resume_reading();
    if (!stall_) return;
    paused ? stall_->hold() : stall_->release();
  }

  using Self = SnapshotRequest;
  // `next`, unless the request has gone, or the transport.
  SnapshotSink::Done when_done(void (Self::*next)(Directory&, base::Result<>)) {
    return [this, next, alive = std::weak_ptr(alive_)](base::Result<> result) {
      if (alive.expired() || state_ == State::kDone) return;
      const auto directory = directory_.lock();
      directory ? (this->*next)(*directory, std::move(result)) : exchange_->abort();
    };
  }

  void on_written(Directory& directory, base::Result<> result) {
    writing_ = false;
    if (!result) return fail_saving(directory.context(), result.error().message());
    pause(false);
    pump(directory.context());
  }

  void on_finished(Directory& directory, base::Result<> result) {
    Context& context = directory.context();
    if (!result) return fail_saving(context, result.error().message());
    stats(context).received_bytes.add(file_bytes_);
    env::log_info("received and saved database snapshot",
                  {{"local-member-id", id_text(context.options.member_id)},
                   {"remote-snapshot-sender-id", id_text(message_.from)},
                   {"incoming-snapshot-index", index()},
                   {"incoming-snapshot-size-bytes", file_bytes_},
                   {"download-took", context.now() - started_at_}});
    const raft::NodeId from = message_.from;
    const Verdict verdict = context.deliver(std::move(message_));
    message_ = {.from = from};
    if (verdict != Verdict::kTaken) return fail_processing(context, verdict);
    stats(context).snapshot_receive_success.add();
    if (context.observer != nullptr) {
      context.observer->on_snapshot_receive(from, context.now() - started_at_);
    }
    end();
    exchange_->respond(with_cluster_id(context, {.status = 204}));
  }

  void on_stall() {
    stall_.reset();
    const auto directory = directory_.lock();
    if (!directory) return exchange_->abort();
    if (state_ == State::kFile) return fail_saving(directory->context(), "i/o timeout");
    fail_decoding(directory->context(), "i/o timeout");
  }

  void fail_decoding(Context& context, std::string_view why) {
    warn(context, "failed to decode Raft message", why);
    stats(context).received_failures.add();
    refuse(context, text(context, 400, fmt::format("failed to decode raft message ({})", why)));
  }

  void fail_saving(Context& context, std::string_view why) {
    warn(context, "failed to save incoming database snapshot", why);
    refuse(context, text(context, 500, fmt::format("failed to save KV snapshot ({})", why)));
  }

  void fail_processing(Context& context, Verdict verdict) {
    const auto words = fmt::format("failed to process raft message ({})", describe(verdict));
    refuse(context, text(context, 500, words));
  }

  void refuse(Context& context, http::Response response) {
    stats(context).snapshot_receive_failures.add();
    end();
    exchange_->respond(std::move(response));
  }

  void end() {
    state_ = State::kDone;
    stall_.reset();
    sink_.reset();
    piece_.clear();
    const auto directory = directory_.lock();
    if (std::exchange(receiving_, false) && directory) {
      stats(directory->context()).snapshot_receives_ended.add();
    }
  }

  const std::weak_ptr<Directory> directory_;
  http::Exchange* exchange_ = nullptr;
  State state_ = State::kDone;
  std::optional<StallTimer> stall_;  // while the body comes
  base::TimePoint started_at_;
  std::uint64_t wanted_ = 8;  // bytes of the length, then of the message
  std::string head_;          // of them, so far
  raft::Message message_;
  std::unique_ptr<SnapshotSink> sink_;
  std::string piece_;  // came, and is not given to the sink
  std::uint64_t file_bytes_ = 0;
  bool writing_ = false;  // the sink has not answered
  bool paused_ = false;
  bool body_ended_ = false;
  bool receiving_ = false;  // counted as one under way
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

// -----------------------------------------------------------------------------------------------

http::Route answered(http::Response response) {
  return {.handler = http::make_simple_handler(
              [response = std::move(response)](const http::Request&) { return response; })};
}

}  // namespace

http::Route route_request(const std::weak_ptr<Directory>& directory, const http::Request& head) {
  const std::string_view path = head.path;
  const bool stream = path.starts_with(kStreamPath);
  const bool snapshot = path == kSnapshotPath;
  if (!stream && !snapshot && path != kRaftPath && path != kProbingPath) return {};
  const auto locked = directory.lock();
  if (!locked || locked->context().stopped) {
    return answered(http::text_response(503, "the transport has stopped"));
  }
  if (path == kProbingPath) {
    return answered({.headers = {{"Content-Type", "text/plain; charset=utf-8"}},
                     .body = probing_body(locked->context().lane.clock().wall_now())});
  }
  const std::string_view method = stream ? "GET" : "POST";
  if (head.method != method) {
    if (snapshot) locked->context().stats.of(raft::kNone).snapshot_receive_failures.add();
    return answered(http::method_not_allowed_response(method));
  }
  http::Route route{.body = http::BodyMode::kStreamed};
  if (stream) {
    route.handler = std::make_unique<StreamRequest>(directory);
  } else if (snapshot) {
    route.handler = std::make_unique<SnapshotRequest>(directory);
  } else {
    route.handler = std::make_unique<MessageRequest>(directory);
  }
  return route;
}

}  // namespace keelson::peer
