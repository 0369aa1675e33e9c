#include "env/posix/socket_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "env/posix/socket_address.h"

namespace keelson::env::posix {
namespace {

constexpr std::size_t kPiecesPerSend = 64;
constexpr std::size_t kBytesPerSend = 256 * 1024;
constexpr int kSendsPerTurn = 8;  // a fast reader of a huge answer must not hold the lane
constexpr int kKeepAliveSeconds = 30;

void set_option(int fd, int level, int option, int value) {
  // What cannot be set (a unix socket has no Nagle) is not worth losing a connection for.
  MAYBE(::setsockopt(fd, level, option, &value, sizeof value) == 0);
}

void set_options(int fd, int family) {
  if (family == AF_UNIX) return;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveSeconds);
}

std::string_view view_of(const std::variant<std::string, base::SharedBytes>& piece) {
  return std::visit([](const auto& bytes) { return std::string_view(bytes); }, piece);
}

// Bytes the kernel took; 0 if it takes none now; or an error number below 0.
ssize_t send_some(int fd, iovec* pieces, std::size_t count) {
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  for (;;) {
    const auto sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return 0;
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

SocketStream::SocketStream(LoopLane& lane, int fd, std::shared_ptr<const void> kept)
    : lane_(lane),
      kept_(std::move(kept)),
      peer_address_(peer_address_of(fd).text()),
      local_address_(local_address_of(fd).text()),
      socket_(std::in_place, lane, fd, *this) {
  set_options(fd, local_address_of(fd).family());
}

SocketStream::~SocketStream() {
  if (timer_ != 0) lane_.cancel(timer_);
}

void SocketStream::start(StreamHandler& handler) {
  CHECK(handler_ == nullptr);
  handler_ = &handler;
  if (socket_) socket_->want_readable();
}

void SocketStream::write(std::string&& bytes) {
  if (state_ != State::kOpen || bytes.empty()) return;
  std::size_t sent = 0;
  if (queue_is_empty()) {  // the common case: the kernel takes it, nothing is queued
    iovec piece{bytes.data(), std::min(bytes.size(), kBytesPerSend)};
    const auto result = send_some(socket_->fd(), &piece, 1);
    if (result < 0) return end_soon(error_of(static_cast<int>(-result), "send"));
    sent = static_cast<std::size_t>(result);
    if (sent == bytes.size()) return;
    front_offset_ = sent;
  }
  unsent_ += bytes.size() - sent;
  const bool was_full = sent < std::min(bytes.size(), kBytesPerSend);
  queue_.emplace_back(std::move(bytes));
  if (was_full) {
    socket_->want_writable();
  } else {
    send_queued();
  }
}

void SocketStream::write(std::vector<base::SharedBytes> pieces) {
  if (state_ != State::kOpen) return;
  const bool waits_already = !queue_is_empty();
  for (auto& piece : pieces) {
    if (piece.empty()) continue;
    unsent_ += piece.size();
    queue_.emplace_back(std::move(piece));
  }
  if (!waits_already && !queue_is_empty()) send_queued();
}

void SocketStream::send_queued() {
  for (int sends = 0; sends < kSendsPerTurn && !queue_is_empty(); sends++) {
    std::array<iovec, kPiecesPerSend> pieces;
    std::size_t count = 0, bytes = 0, skip = front_offset_;
    for (auto i = queue_head_; i < queue_.size() && count < kPiecesPerSend && bytes < kBytesPerSend;
         i++) {
      auto rest = view_of(queue_[i]).substr(std::exchange(skip, 0));
      rest = rest.substr(0, kBytesPerSend - bytes);
      pieces[count++] = {const_cast<char*>(rest.data()), rest.size()};
      bytes += rest.size();
    }
    const auto sent = send_some(socket_->fd(), pieces.data(), count);
    if (sent < 0) return end_soon(error_of(static_cast<int>(-sent), "send"));
    drop_sent(static_cast<std::size_t>(sent));
    if (static_cast<std::size_t>(sent) < bytes) break;
  }
  if (!queue_is_empty()) socket_->want_writable();
}

void SocketStream::drop_sent(std::size_t bytes) {
  unsent_ -= bytes;
  bytes += front_offset_;
  while (!queue_is_empty() && bytes >= view_of(queue_[queue_head_]).size()) {
    bytes -= view_of(queue_[queue_head_]).size();
    queue_[queue_head_++] = std::string();  // free it now
  }
  front_offset_ = bytes;
  if (queue_is_empty()) {
    queue_.clear();
    queue_head_ = 0;
  } else if (queue_head_ > queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
    queue_head_ = 0;
  }
}

void SocketStream::on_writable() {
  if (state_ == State::kClosed || queue_is_empty()) return;
  send_queued();
  if (state_ == State::kClosed || !queue_is_empty()) return;
  if (state_ == State::kDraining) return finish_sending();
  handler_->on_drained();
}

void SocketStream::on_readable() {
  if (paused_ && state_ == State::kOpen) return;  // resume_reading() asks again
  const auto buffer = lane_.loop().read_buffer();
  ssize_t got;
  do {
    got = ::recv(socket_->fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
    return end_now(error_of(errno, "receive"));
  if (got != 0) {
    socket_->want_readable();  // before the owner is told, who may destroy us
    return deliver(std::string_view(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0));
  }
  peer_ended_ = true;
  if (state_ == State::kOpen) return handler_->on_end();
  if (state_ == State::kLingering) end_now(base::Error{{}, "closed"});
}

void SocketStream::deliver(std::string_view bytes) {
  if (state_ == State::kOpen && !bytes.empty()) handler_->on_bytes(bytes);
}

void SocketStream::pause_reading() { paused_ = true; }

void SocketStream::resume_reading() {
  if (!std::exchange(paused_, false)) return;
  if (state_ == State::kOpen && handler_ != nullptr && !peer_ended_) socket_->want_readable();
}

void SocketStream::close_gracefully(base::Duration linger) {
  if (state_ != State::kOpen) return;
  state_ = State::kDraining;
  set_timer(linger, base::make_error(std::errc::timed_out, "close " + peer_address_));
  if (!peer_ended_) socket_->want_readable();
  if (queue_is_empty()) finish_sending();
}

void SocketStream::finish_sending() {
  state_ = State::kLingering;
  if (peer_ended_) return end_soon(base::Error{{}, "closed"});
  if (::shutdown(socket_->fd(), SHUT_WR) != 0) end_soon(error_of(errno, "shut down"));
}

void SocketStream::close_socket() {
  state_ = State::kClosed;
  socket_.reset();
  kept_.reset();
  queue_.clear();
  queue_head_ = front_offset_ = unsent_ = 0;
}

void SocketStream::end_now(base::Error error) {
  close_socket();
  if (timer_ != 0) lane_.cancel(std::exchange(timer_, 0));
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->on_closed(error);
}

void SocketStream::end_soon(base::Error error) {
  close_socket();
  set_timer(base::Duration::zero(), std::move(error));
}

void SocketStream::set_timer(base::Duration delay, base::Error error) {
  if (timer_ != 0) lane_.cancel(timer_);
  timer_ = lane_.after(delay, [this, error = std::move(error)]() mutable {
    timer_ = 0;
    end_now(std::move(error));
  });
}

base::Error SocketStream::error_of(int error_number, std::string_view operation) const {
  return base::errno_error(error_number, fmt::format("{} {}", operation, peer_address_));
}

}  // namespace keelson::env::posix
