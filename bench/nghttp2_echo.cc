// nghttp2_echo: the floor under every gRPC server built on nghttp2.
//
// One thread, epoll, libnghttp2, no work at all: any POST whose path ends in a number gets a gRPC
// answer of that many bytes. What a real server costs above this is its own doing; what this costs,
// it cannot save.
//
//   nghttp2_echo PORT        listens on 127.0.0.1, in clear text with prior knowledge; ends by
//   signal
//
// A connection is a Session: bytes read go into nghttp2, what nghttp2 wants to say leaves in one
// write per turn. What the socket does not take at once waits in `unsent_`, and no more is read
// until it is gone: a client that does not read its answers cannot make the server hold more than
// one turn of them.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

constexpr std::size_t kReplyBytesMax = 1 << 20;
constexpr std::size_t kGrpcPrefixBytes = 5;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

// One answer on its way: prefix, then bytes that mean nothing.
struct Reply {
  std::size_t message_bytes = 0;
  std::size_t sent = 0;
};

class Session {
 public:
  explicit Session(int socket) : socket_(socket) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option* options = nullptr;
    nghttp2_option_new(&options);
    nghttp2_option_set_no_closed_streams(options, 1);  // else each is kept for its place in a tree
    nghttp2_session_server_new2(&session_, callbacks, this, options);
    nghttp2_option_del(options);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
  }
  ~Session() {
    nghttp2_session_del(session_);
    ::close(socket_);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // One turn: take what came, answer it, write. False when the connection is over.
  bool turn() {
    if (!flush()) return false;
    while (unsent_.empty()) {
      std::array<uint8_t, 65536> buffer;
      const ssize_t n = ::read(socket_, buffer.data(), buffer.size());
      if (n == 0) return false;
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (nghttp2_session_mem_recv(session_, buffer.data(), static_cast<std::size_t>(n)) != n) {
        return false;
      }
      if (!send()) return false;
      if (static_cast<std::size_t>(n) < buffer.size()) break;
    }
    return nghttp2_session_want_read(session_) != 0 || nghttp2_session_want_write(session_) != 0;
  }

  [[nodiscard]] bool wants_write() const { return !unsent_.empty(); }

 private:
  bool send() {
    const uint8_t* part = nullptr;
    for (ssize_t n = 0; (n = nghttp2_session_mem_send(session_, &part)) != 0;) {
      if (n < 0) return false;
      unsent_.append(reinterpret_cast<const char*>(part), static_cast<std::size_t>(n));
    }
    return flush();
  }

  bool flush() {
    std::size_t done = 0;
    while (done < unsent_.size()) {
      const ssize_t n = ::write(socket_, unsent_.data() + done, unsent_.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) return false;
      done += static_cast<std::size_t>(n);
    }
    unsent_.erase(0, done);
    return true;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                       std::size_t name_bytes, const uint8_t* value, std::size_t value_bytes,
                       uint8_t, void* self) {
    const std::string_view field(reinterpret_cast<const char*>(name), name_bytes);
    if (field != ":path") return 0;
    const std::string_view path(reinterpret_cast<const char*>(value), value_bytes);
    const std::string_view number = path.substr(path.find_last_not_of("0123456789") + 1);
    std::size_t bytes = 0;
    std::from_chars(number.data(), number.data() + number.size(), bytes);
    static_cast<Session*>(self)->replies_[frame->hd.stream_id].message_bytes =
        std::min(bytes, kReplyBytesMax);
    return 0;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* self) {
    const bool carries = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!carries || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    auto& replies = static_cast<Session*>(self)->replies_;
    const auto reply = replies.find(frame->hd.stream_id);
    if (reply == replies.end()) return 0;
    const std::array headers = {header(":status", "200"),
                                header("content-type", "application/grpc")};
    nghttp2_data_provider body = {};
    body.source.ptr = &reply->second;
    body.read_callback = read_reply;
    return nghttp2_submit_response(session, frame->hd.stream_id, headers.data(), headers.size(),
                                   &body);
  }

  static ssize_t read_reply(nghttp2_session* session, int32_t stream, uint8_t* out,
                            std::size_t room, uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& reply = *static_cast<Reply*>(source->ptr);
    const std::size_t whole = kGrpcPrefixBytes + reply.message_bytes;
    const std::size_t n = std::min(room, whole - reply.sent);
    std::memset(out, 'x', n);
    if (reply.sent == 0 && n >= kGrpcPrefixBytes) {
      out[0] = 0;
      const uint32_t length = htonl(static_cast<uint32_t>(reply.message_bytes));
      std::memcpy(out + 1, &length, sizeof(length));
    }
    reply.sent += n;
    if (reply.sent == whole) {
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::array trailers = {header("grpc-status", "0"), header("grpc-message", "")};
      nghttp2_submit_trailer(session, stream, trailers.data(), trailers.size());
    }
    return static_cast<ssize_t>(n);
  }

  static int on_close(nghttp2_session*, int32_t stream, uint32_t, void* self) {
    static_cast<Session*>(self)->replies_.erase(stream);
    return 0;
  }

  const int socket_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, Reply> replies_;  // node-based: a Reply stays where nghttp2 was told
  std::string unsent_;
};

int listen_on(uint16_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) die("bind");
  if (::listen(listener, 1024) != 0) die("listen");
  return listener;
}

void serve(int listener) {
  const int poll = ::epoll_create1(EPOLL_CLOEXEC);
  auto watch = [poll](int operation, int socket, uint32_t events) {
    epoll_event event = {};
    event.events = events;
    event.data.fd = socket;
    if (::epoll_ctl(poll, operation, socket, &event) != 0) die("epoll_ctl");
  };
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  std::unordered_map<int, Session> sessions;
  for (;;) {
    std::array<epoll_event, 256> events;
    const int n = ::epoll_wait(poll, events.data(), static_cast<int>(events.size()), -1);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; ++i) {
      const int socket = events[static_cast<std::size_t>(i)].data.fd;
      if (socket == listener) {
        const int accepted = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted < 0) continue;
        const int on = 1;
        ::setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        sessions.try_emplace(accepted, accepted);
        watch(EPOLL_CTL_ADD, accepted, EPOLLIN);
        continue;
      }
      Session& session = sessions.at(socket);
      const bool waited = session.wants_write();
      if (!session.turn()) {
        sessions.erase(socket);  // closing takes it out of the poll too
      } else if (session.wants_write() != waited) {
        watch(EPOLL_CTL_MOD, socket, session.wants_write() ? EPOLLOUT : EPOLLIN);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  uint16_t port = 0;
  const std::string_view text = argc == 2 ? argv[1] : "";
  if (std::from_chars(text.data(), text.data() + text.size(), port).ec != std::errc()) {
    std::fputs("usage: nghttp2_echo PORT\n", stderr);
    return 2;
  }
  serve(listen_on(port));
}
