#include "env/posix/network.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <cstring>

#include "env/posix/descriptor.h"
#include "env/posix/socket_address.h"
#include "env/posix/socket_stream.h"

namespace keelson::env::posix {
namespace {

constexpr int kAcceptsPerEvent = 64;
constexpr base::Duration kBackOffMin = base::Milliseconds(5);
constexpr base::Duration kBackOffMax = base::Seconds(1);

// A file descriptor until somebody takes it.
class OwnedFd {
 public:
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.take()) {}
  ~OwnedFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

auto failure(int error_number, std::string_view operation, std::string_view address) {
  return base::fail(base::errno_error(error_number, fmt::format("{} {}", operation, address)));
}

base::Result<SocketAddress> listen_address(const std::string& address) {
  if (const auto path = unix_path(address)) return unix_address(*path);
  ASSIGN_OR_RETURN(const auto where, split_host_port(address));
  const auto found = numeric_address(where);
  if (!found) return failure(EINVAL, "listen on", address);  // no name but localhost
  return *found;
}

// A socket file of an earlier life. Anything else of that name is not ours to remove.
void remove_socket_file(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) ::unlink(path.c_str());
}

base::Result<OwnedFd> open_listener(const std::string& address, const ListenOptions& options) {
  ASSIGN_OR_RETURN(const SocketAddress where, listen_address(address));
  OwnedFd fd(::socket(where.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return failure(errno, "socket for", address);
  const auto set = [&](int level, int option, int value) {
    return ::setsockopt(fd.get(), level, option, &value, sizeof value) == 0;
  };
  if (where.family() == AF_UNIX) {
    remove_socket_file(*unix_path(address));
  } else {
    // Without it a restart would wait for the connections of the last life to be forgotten.
    if (!set(SOL_SOCKET, SO_REUSEADDR, 1)) return failure(errno, "set SO_REUSEADDR of", address);
    if (options.reuse_port && !set(SOL_SOCKET, SO_REUSEPORT, 1)) {
      return failure(errno, "set SO_REUSEPORT of", address);
    }
    // "[::]" takes both families, whatever the machine's default is.
    if (where.family() == AF_INET6) MAYBE(set(IPPROTO_IPV6, IPV6_V6ONLY, 0));
  }
  if (::bind(fd.get(), where.get(), where.length) != 0) return failure(errno, "bind", address);
  if (::listen(fd.get(), SOMAXCONN) != 0) return failure(errno, "listen on", address);
  return fd;
}

// The accepting half of a listener. Shared with the jobs it posts and the tickets of its
// connections.
//
//   Accepting --no descriptors left--> BackingOff --time--> Accepting
//   Accepting --limit reached--> Full --a connection went--> Accepting
class Acceptor final : public std::enable_shared_from_this<Acceptor>, public Descriptor::Events {
 public:
  Acceptor(ListenOptions options, std::vector<LoopLane*> lanes,
           std::function<void(std::unique_ptr<Stream>)> on_accept)
      : options_(options), lanes_(std::move(lanes)), on_accept_(std::move(on_accept)) {}

  void open(OwnedFd fd) {
    fd_ = fd.get();
    in_home_lane([self = shared_from_this(), fd = std::move(fd)]() mutable {
      if (self->stopped_) return;
      self->socket_.emplace(self->home(), fd.take(), *self);
      self->socket_->want_readable();
    });
  }

  void close() {
    stopped_ = true;
    if (!home().is_mine()) ::shutdown(fd_, SHUT_RDWR);  // from now on nobody gets in
    in_home_lane([self = shared_from_this()] {
      if (self->timer_ != 0) self->home().cancel(std::exchange(self->timer_, 0));
      self->socket_.reset();
    });
  }

 private:
  // Held by each connection, and before that by the job that will make it.
  struct Ticket {
    explicit Ticket(std::shared_ptr<Acceptor> from) : acceptor(std::move(from)) {
      acceptor->connections_++;
    }
    ~Ticket() {
      if (acceptor->connections_-- != acceptor->options_.connections_max) return;
      acceptor->home().post([acceptor = acceptor] { acceptor->accept_again(); });
    }
    std::shared_ptr<Acceptor> acceptor;
  };

  LoopLane& home() { return *lanes_.front(); }
  void in_home_lane(base::Job job) { home().is_mine() ? job() : home().post(std::move(job)); }
  bool is_full() const {
    return options_.connections_max != 0 && connections_ >= options_.connections_max;
  }
  void accept_again() {
    if (socket_) socket_->want_readable();
  }

  void on_writable() override {}
  void on_readable() override {
    for (int i = 0; i < kAcceptsPerEvent; i++) {
      if (stopped_ || is_full()) return;  // the next ticket that goes asks again
      const int fd = ::accept4(socket_->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        back_off_ = kBackOffMin;
        deal(OwnedFd(fd));
        continue;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        return back_off();
      }
      // Else it was the trouble of that one connection, which is gone.
    }
    socket_->want_readable();
  }

  // Without descriptors the socket stays readable: asking at once would spin.
  void back_off() {
    timer_ = home().after(back_off_, [this] {
      timer_ = 0;
      accept_again();
    });
    back_off_ = std::min(back_off_ * 2, kBackOffMax);
  }

  void deal(OwnedFd fd) {
    LoopLane& lane = *lanes_[next_++ % lanes_.size()];
    lane.post([&lane, fd = std::move(fd),
               ticket = std::make_shared<const Ticket>(shared_from_this())]() mutable {
      Acceptor& self = *ticket->acceptor;
      if (self.stopped_) return;
      auto stream = std::make_unique<SocketStream>(lane, fd.take(), ticket);
      self.on_accept_(std::move(stream));
    });
  }

  const ListenOptions options_;
  const std::vector<LoopLane*> lanes_;
  const std::function<void(std::unique_ptr<Stream>)> on_accept_;
  std::atomic<bool> stopped_ = false;
  std::atomic<std::size_t> connections_ = 0;
  int fd_ = -1;
  // The home lane only.
  std::optional<Descriptor> socket_;
  std::size_t next_ = 0;
  TimerId timer_ = 0;
  base::Duration back_off_ = kBackOffMin;
};

class SocketListener final : public Listener {
 public:
  SocketListener(std::shared_ptr<Acceptor> acceptor, std::string address)
      : acceptor_(std::move(acceptor)), address_(std::move(address)) {}
  ~SocketListener() override {
    if (const auto path = unix_path(address_)) remove_socket_file(*path);
    acceptor_->close();
  }
  const std::string& address() const override { return address_; }

 private:
  const std::shared_ptr<Acceptor> acceptor_;
  const std::string address_;
};

// One call of connect(), until it has called `done`. Kept alive by the timer, which is set all that
// time.
//
//   Resolving --addresses--> Trying --refused, or its share of the time is over--> Trying the next
//   any --connected, no address left, no time left--> done
class Connecting final : public std::enable_shared_from_this<Connecting>,
                         public Descriptor::Events {
 public:
  using Done = base::Function<void(base::Result<std::unique_ptr<Stream>>)>;

  Connecting(LoopLane& lane, Resolver& resolver, std::string address, base::Duration timeout,
             Done done)
      : lane_(lane),
        resolver_(resolver),
        address_(std::move(address)),
        deadline_(lane.clock().now() + timeout),
        done_(std::move(done)) {}

  void start() {
    if (const auto path = unix_path(address_)) {
      if (auto address = unix_address(*path)) {
        addresses_.push_back(*address);
      } else {
        error_ = std::move(address).error();
      }
      return set_timer(base::Duration::zero());
    }
    const auto where = split_host_port(address_);
    if (!where) {
      error_ = where.error();
      return set_timer(base::Duration::zero());
    }
    if (const auto address = numeric_address(*where)) {
      addresses_.push_back(*address);
      return set_timer(base::Duration::zero());
    }
    resolve(*where);
  }

 private:
  void resolve(const HostPort& where) {
    set_timer(deadline_ - lane_.clock().now());
    resolver_.resolve(
        lane_, where.host, [self = shared_from_this(), port = where.port](auto answer) {
          if (!self->done_) return;
          if (!answer) {
            self->error_ = base::Error{answer.error().code, "resolve " + self->address_};
          } else {
            for (const std::string& ip : *answer) self->add({ip, port});
          }
          self->try_next();
        });
  }

  void add(const HostPort& where) {
    if (const auto address = numeric_address(where)) addresses_.push_back(*address);
  }

  void try_next() {
    const auto self = shared_from_this();  // the timer may be what keeps us
    socket_.reset();
    while (next_ < addresses_.size()) {
      const auto& address = addresses_[next_++];
      OwnedFd fd(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (fd.get() < 0) {
        note(errno);
      } else if (::connect(fd.get(), address.get(), address.length) == 0) {
        return succeed(fd.take());
      } else if (errno == EINPROGRESS) {
        socket_.emplace(lane_, fd.take(), *this);
        socket_->want_writable();
        const auto left = static_cast<std::int64_t>(addresses_.size() - next_ + 1);
        return set_timer((deadline_ - lane_.clock().now()) / left);
      } else {
        note(errno);
      }
    }
    finish(base::fail(error_));
  }

  void on_readable() override {}
  void on_writable() override {
    int error_number = 0;
    socklen_t length = sizeof error_number;
    ::getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &error_number, &length);
    if (error_number == 0) return succeed(socket_->release());
    note(error_number);
    try_next();
  }

  void note(int error_number) { error_ = base::errno_error(error_number, "connect " + address_); }

  void succeed(int fd) {
    socket_.reset();
    finish(std::unique_ptr<Stream>(std::make_unique<SocketStream>(lane_, fd, nullptr)));
  }

  void finish(base::Result<std::unique_ptr<Stream>> result) {
    const auto self = shared_from_this();
    if (timer_ != 0) lane_.cancel(std::exchange(timer_, 0));
    socket_.reset();
    std::exchange(done_, nullptr)(std::move(result));
  }

  void set_timer(base::Duration delay) {
    if (timer_ != 0) lane_.cancel(timer_);
    timer_ = lane_.after(delay, [self = shared_from_this()] {
      self->timer_ = 0;
      const bool was_resolving = self->addresses_.empty() && !self->error_.code;
      if (was_resolving || self->socket_) self->note(ETIMEDOUT);
      self->try_next();
    });
  }

  LoopLane& lane_;
  Resolver& resolver_;
  const std::string address_;
  const base::TimePoint deadline_;
  Done done_;  // none: it was called
  std::vector<SocketAddress> addresses_;
  std::size_t next_ = 0;  // address to be tried next
  std::optional<Descriptor> socket_;
  TimerId timer_ = 0;
  base::Error error_;  // of the last address that failed
};

LoopLane& loop_lane(Lane& lane) { return static_cast<LoopLane&>(lane); }

}  // namespace

base::Result<std::unique_ptr<Listener>> SocketNetwork::listen(
    const std::string& address, ListenOptions options, std::vector<Lane*> lanes,
    std::function<void(std::unique_ptr<Stream>)> on_accept) {
  CHECK(!lanes.empty());
  ASSIGN_OR_RETURN(OwnedFd fd, open_listener(address, options));
  std::vector<LoopLane*> loop_lanes;
  for (Lane* lane : lanes) loop_lanes.push_back(&loop_lane(*lane));
  // The path as it was given: the kernel's may be relative too, and is cut at 107 bytes.
  const std::string bound = unix_path(address) ? address : local_address_of(fd.get()).text();
  auto acceptor = std::make_shared<Acceptor>(options, std::move(loop_lanes), std::move(on_accept));
  acceptor->open(std::move(fd));
  return std::unique_ptr<Listener>(std::make_unique<SocketListener>(std::move(acceptor), bound));
}

void SocketNetwork::connect(Lane& lane, const std::string& address, base::Duration timeout,
                            base::Function<void(base::Result<std::unique_ptr<Stream>>)> done) {
  std::make_shared<Connecting>(loop_lane(lane), resolver_, address, timeout, std::move(done))
      ->start();
}

}  // namespace keelson::env::posix
