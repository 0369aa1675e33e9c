#include "peer/stream_writer.h"

#include <utility>

#include "base/check.h"
#include "env/log.h"
#include "membership/member.h"
#include "peer/join.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

// What a message keeps alive while it waits.
std::size_t weight(const raft::Message& message) {
  std::size_t bytes = sizeof(message) + message.context.size();
  for (const raft::Entry& entry : message.entries) bytes += sizeof(entry) + entry.data.size();
  return bytes;
}

// Heartbeats, votes, answers, barriers: small. Appends and proposals keep their order among
// themselves.
bool is_urgent(const raft::Message& message) {
  return message.type != raft::MessageType::kApp && message.type != raft::MessageType::kProp;
}

}  // namespace

void StreamWriter::attach(OutgoingStream& stream) {
  if (attached()) {
    env::log_warn("closed TCP streaming connection with remote peer",
                  {{"stream-writer-type", log_name(kind_)},
                   {"local-member-id", membership::id_text(link_.context.options.member_id)},
                   {"remote-peer-id", link_.id_text}});
    if (waiting() > 0 || stream_->exchange().unsent_bytes() > 0) link_.report_unreachable();
    close();
  }
  stream_ = &stream;
  encoder_ = StreamEncoder(kind_);
  written_ = taken_ = 0;
  progress_at_ = link_.context.now();
  link_.activate();
  env::log_info("established TCP streaming connection with remote peer",
                {{"stream-writer-type", log_name(kind_)},
                 {"local-member-id", membership::id_text(link_.context.options.member_id)},
                 {"remote-peer-id", link_.id_text}});
  start_timer();
}

bool StreamWriter::push(raft::Message&& message) {
  CHECK(attached());
  const Limits& limits = link_.context.options.limits;
  const std::size_t bytes = weight(message);
  // One message always finds room where nothing waits, however large it is.
  const bool full = waiting() >= limits.stream_messages_max ||
                    (waiting() > 0 && waiting_bytes_ + bytes > limits.stream_bytes_max);
  if (full) return false;
  auto& queue = is_urgent(message) ? urgent_ : bulk_;
  if (!queue.empty() && join(queue.back(), message)) {
    waiting_bytes_ += bytes - sizeof(message);
  } else {
    waiting_bytes_ += bytes;
    queue.push_back(std::move(message));
  }
  return true;
}

raft::Message StreamWriter::pop() {
  auto& queue = urgent_.empty() ? bulk_ : urgent_;
  raft::Message message = std::move(queue.front());
  queue.pop_front();
  waiting_bytes_ -= weight(message);
  return message;
}

void StreamWriter::flush() {
  const std::size_t room = link_.context.options.limits.socket_bytes_max;
  while (attached() && waiting() > 0 && stream_->exchange().unsent_bytes() < room) {
    FrameBuffer buffer;
    buffer.make_room(waiting_bytes_);
    while (waiting() > 0 && buffer.size() < room) {
      const raft::Message message = pop();
      link_.stats.sent_bytes.add(raft::encoded_size(message));
      encoder_.put(message, buffer);
    }
    write(buffer);
  }
}

void StreamWriter::write(FrameBuffer& buffer) {
  http::Exchange& exchange = stream_->exchange();
  if (exchange.unsent_bytes() == 0) progress_at_ = link_.context.now();
  written_ += buffer.size();
  for (auto& piece : buffer.take()) exchange.write(std::move(piece));
}

void StreamWriter::start_timer() {
  const base::Duration interval = link_.context.options.read_timeout / 3;
  timer_ = link_.context.lane.after(interval, [this] { on_timer(); });
}

// Whatever else is sent, as etcd does: three times in the time after which the reader gives up.
void StreamWriter::on_timer() {
  timer_ = 0;
  if (stalled()) return on_lost("write: i/o timeout");
  FrameBuffer buffer;
  encoder_.put_heartbeat(buffer);
  link_.stats.sent_bytes.add(2);  // what the message would have
  write(buffer);
  start_timer();
}

// Whether nothing was taken for the time that a write may last.
bool StreamWriter::stalled() {
  const std::size_t unsent = stream_->exchange().unsent_bytes();
  const base::TimePoint now = link_.context.now();
  // Framing of chunks is in `unsent` too.
  const std::uint64_t taken = written_ - std::min<std::uint64_t>(unsent, written_);
  if (unsent == 0 || taken > taken_) progress_at_ = now;
  taken_ = taken;
  return now - progress_at_ >= link_.context.options.write_timeout;
}

void StreamWriter::on_lost(std::string_view reason) {
  link_.stats.sent_failures.add();
  link_.deactivate("write", log_name(kind_), reason);
  env::log_warn("lost TCP streaming connection with remote peer",
                {{"stream-writer-type", log_name(kind_)},
                 {"local-member-id", membership::id_text(link_.context.options.member_id)},
                 {"remote-peer-id", link_.id_text}});
  // What was in flight is lost as well, and nobody knows how much that is.
  link_.report_unreachable();
  http::Exchange& exchange = stream_->exchange();
  detach();
  exchange.abort();
}

// In order, so that the reader does not take it for a broken one; but nobody waits for a connection
// that does not take what it was given.
void StreamWriter::close() {
  if (!attached()) return;
  http::Exchange& exchange = stream_->exchange();
  detach();
  exchange.unsent_bytes() > 0 ? exchange.abort() : exchange.end();
}

void StreamWriter::detach() {
  urgent_.clear();
  bulk_.clear();
  waiting_bytes_ = 0;
  if (timer_ != 0) link_.context.lane.cancel(std::exchange(timer_, 0));
  std::exchange(stream_, nullptr)->on_detached();
}

}  // namespace keelson::peer
