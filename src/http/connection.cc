#include "http/connection.h"

#include <algorithm>
#include <utility>

namespace keelson::http {
namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// How long a peer may take to read the last of what it was sent.
constexpr base::Duration kLinger = base::Seconds(5);
// How long one that has ended its side may wait for answers. Beyond any deadline of a call of ours:
// this is for an answer that does not fit a window which nobody will open any more.
constexpr base::Duration kHalfClosedPatience = base::Seconds(30);

}  // namespace

Connection::Connection(ServerContext& context, std::uint64_t id,
                       std::unique_ptr<env::Stream> stream, Peer peer)
    : context_(context), id_(id), stream_(std::move(stream)), peer_(std::move(peer)) {
  ++context_.stats.connections_accepted;
  ++context_.stats.connections_open;
  timer_ = context_.lane.after(context_.options.http1.head_timeout, [this] {
    timer_ = 0;
    abandon();
  });
}

Connection::~Connection() {
  if (timer_ != 0) context_.lane.cancel(timer_);
  protocol_.reset();
  --context_.stats.connections_open;
}

void Connection::on_bytes(std::string_view bytes) {
  context_.stats.bytes_received += bytes.size();
  if (state_ == State::kOpen) {
    protocol_->on_bytes(bytes);
  } else if (state_ == State::kSniffing) {
    sniff(bytes);
  }
}

void Connection::sniff(std::string_view bytes) {
  const std::size_t taken = std::min(bytes.size(), kPreface.size() - sniffed_.size());
  sniffed_.append(bytes.substr(0, taken));
  const bool http2 = sniffed_ == kPreface.substr(0, sniffed_.size());
  if (http2 && sniffed_.size() < kPreface.size()) return;  // cannot tell yet
  if (http2 ? context_.router == nullptr : context_.requests == nullptr) return abandon();
  context_.lane.cancel(std::exchange(timer_, 0));
  state_ = State::kOpen;
  protocol_ = http2 ? make_http2_protocol(context_, *this) : make_http1_protocol(context_, *this);
  if (shutting_down_) protocol_->begin_shutdown();
  const std::string first = std::exchange(sniffed_, {});
  protocol_->on_bytes(first);
  if (taken < bytes.size() && state_ == State::kOpen) protocol_->on_bytes(bytes.substr(taken));
}

void Connection::on_end() {
  if (state_ != State::kOpen) return abandon();
  protocol_->on_end();
  if (state_ != State::kOpen) return;
  timer_ = context_.lane.after(kHalfClosedPatience, [this] {
    timer_ = 0;
    abandon();
  });
}

void Connection::on_drained() {
  if (state_ == State::kOpen) protocol_->on_drained();
}

void Connection::on_closed(const base::Error&) { abandon(); }

void Connection::finish() {
  if (state_ == State::kClosing || state_ == State::kGone) return;
  state_ = State::kClosing;
  if (protocol_) protocol_->cancel_all(CancelReason::kConnectionLost);
  if (timer_ != 0) context_.lane.cancel(timer_);
  // The stream gives up after kLinger; the timer is for one that does not say so.
  timer_ = context_.lane.after(kLinger, [this] {
    timer_ = 0;
    abandon();
  });
  stream_->close_gracefully(kLinger);
}

void Connection::abandon() {
  if (state_ == State::kGone) return;
  state_ = State::kGone;
  if (protocol_) protocol_->cancel_all(CancelReason::kConnectionLost);
  want_turn();
}

void Connection::on_turn_end() {
  turn_wanted_ = false;
  if (state_ == State::kOpen) protocol_->on_turn_end();
}

void Connection::begin_shutdown() {
  shutting_down_ = true;
  if (state_ == State::kOpen) protocol_->begin_shutdown();
  if (state_ == State::kSniffing) abandon();
}

void Connection::cancel_all(CancelReason reason) {
  if (protocol_) protocol_->cancel_all(reason);
}

}  // namespace keelson::http
