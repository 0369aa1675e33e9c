#include "peer/snapshot_sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "env/log.h"
#include "membership/member.h"
#include "peer/protocol.h"
#include "peer/stream_codec.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

constexpr std::string_view kName = "sendMsgSnap";
constexpr std::size_t kAnswerBytesMax = 4096;
// A receiver that writes what comes may be held up by its disk, and then syncs a whole file before
// it answers: no sign of death.
constexpr base::Duration kStallMax = base::Seconds(30);
constexpr base::Duration kAnswerTime = base::Seconds(300);

std::uint64_t index_of(const raft::Message& message) {
  return message.snapshot ? message.snapshot->metadata.index : 0;
}

}  // namespace

SnapshotSender::SnapshotSender(Link& link, raft::Message message,
                               std::unique_ptr<SnapshotSource> source, base::Job done)
    : link_(link),
      message_(std::move(message)),
      source_(std::move(source)),
      done_(std::move(done)),
      started_(link.context.now()),
      size_(raft::encoded_size(message_) + source_->size()) {
  link_.stats.snapshot_sends_started.add();
  env::log_info("sending database snapshot", {{"snapshot-index", index_of(message_)},
                                              {"remote-peer-id", link_.id_text},
                                              {"bytes", size_}});
  dial();
}

SnapshotSender::~SnapshotSender() { cancel(); }

void SnapshotSender::cancel() {
  if (state_ == State::kDone) return;
  state_ = State::kDone;
  client_.reset();
  source_.reset();
  link_.stats.snapshot_sends_ended.add();
}

void SnapshotSender::dial() {
  url_ = link_.picker.pick();
  link_.dial(url_, alive_, [this](Dialled dialled) {
    if (state_ == State::kDone) return;
    if (!dialled) return fail(dialled.error().message());
    begin(*std::move(dialled));
  });
}

void SnapshotSender::begin(std::unique_ptr<http::Http1Client> client) {
  state_ = State::kSending;
  client_ = std::move(client);
  http::Headers headers = link_.context.headers;
  headers.add("Content-Type", "application/octet-stream");
  client_->start({.method = "POST",
                  .target = std::string(kSnapshotPath),
                  .host = url_.host,
                  .headers = std::move(headers),
                  .streamed = true,
                  .timeouts = {.send = kStallMax,
                               .head = kAnswerTime,
                               .body = link_.context.options.read_timeout}},
                 *this);
  FrameBuffer frame;
  StreamEncoder(StreamKind::kMessage).put(message_, frame);
  for (auto& piece : frame.take()) client_->write(std::move(piece));
  pump();
}

void SnapshotSender::pump() {
  const std::size_t room = link_.context.options.limits.socket_bytes_max;
  if (state_ != State::kSending || asked_ || client_->unsent_bytes() >= room) return;
  asked_ = true;
  source_->next([this, alive = std::weak_ptr(alive_)](SnapshotSource::Piece piece) {
    if (!alive.expired()) on_piece(std::move(piece));
  });
}

void SnapshotSender::on_piece(SnapshotSource::Piece piece) {
  asked_ = false;
  if (state_ != State::kSending) return;
  if (!piece) return fail(piece.error().message());
  if (piece->empty()) {
    state_ = State::kAnswering;
    return client_->end_body();
  }
  client_->write(*std::move(piece));
  pump();
}

void SnapshotSender::on_drained() { pump(); }

void SnapshotSender::on_head(const http::ResponseHead& head) { status_ = head.status; }

void SnapshotSender::on_body(std::string_view bytes) {
  answer_ += bytes.substr(0, kAnswerBytesMax - std::min(answer_.size(), kAnswerBytesMax));
}

void SnapshotSender::on_end() {
  switch (post_outcome(status_, answer_)) {
    case PostOutcome::kOk:
      return state_ == State::kAnswering ? succeed() : fail("answered before the end");
    case PostOutcome::kMemberRemoved:
      link_.context.handler.on_member_removed(link_.id);
      return fail(kMemberRemoved);
    case PostOutcome::kIncompatibleVersion:
      return fail(kIncompatibleVersion);
    case PostOutcome::kClusterIdMismatch:
      return fail(kClusterIdMismatch);
    case PostOutcome::kOther:
      return fail(fmt::format("unexpected http status {} while posting", status_));
  }
}

void SnapshotSender::on_failed(const http::RequestFailure& failure) {
  fail(failure.error.message());
}

void SnapshotSender::succeed() {
  const base::Duration took = link_.context.now() - started_;
  env::log_info("sent database snapshot", {{"snapshot-index", index_of(message_)},
                                           {"remote-peer-id", link_.id_text},
                                           {"bytes", size_}});
  link_.activate();
  link_.stats.sent_bytes.add(size_);
  link_.stats.snapshot_send_success.add();
  if (link_.context.observer != nullptr) link_.context.observer->on_snapshot_send(link_.id, took);
  link_.context.handler.on_snapshot_sent(link_.id, SnapshotOutcome::kFinished);
  end();
}

void SnapshotSender::fail(std::string_view reason) {
  env::log_warn("failed to send database snapshot", {{"snapshot-index", index_of(message_)},
                                                     {"remote-peer-id", link_.id_text},
                                                     {"bytes", size_},
                                                     {"error", reason}});
  link_.picker.unreachable(url_);
  link_.deactivate("post", kName, reason);
  link_.stats.snapshot_send_failures.add();
  link_.sending_failed();
  link_.context.handler.on_snapshot_sent(link_.id, SnapshotOutcome::kFailed);
  end();
}

void SnapshotSender::end() {
  cancel();
  base::Job done = std::move(done_);
  done();
}

}  // namespace keelson::peer
