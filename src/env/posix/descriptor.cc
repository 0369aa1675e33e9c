#include "env/posix/descriptor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace keelson::env::posix {

namespace asio = boost::asio;

struct Descriptor::Watch {
  Watch(LoopLane& lane_of, Events& told)
      : lane(lane_of), descriptor(lane_of.loop().io()), events(&told) {}

  LoopLane& lane;
  asio::posix::stream_descriptor descriptor;
  Events* events;  // nullptr: the Descriptor has gone
  bool awaits_readable = false;
  bool awaits_writable = false;
};

Descriptor::Descriptor(LoopLane& lane, int fd, Events& events)
    : fd_(fd), watch_(std::make_shared<Watch>(lane, events)) {
  CHECK(lane.is_mine());
  boost::system::error_code ec;
  watch_->descriptor.assign(fd, ec);
  // The kernel has no room to watch one more. Its owner is to see an end, not wait for ever.
  if (ec) ::shutdown(fd, SHUT_RDWR);
}

Descriptor::~Descriptor() {
  CHECK(watch_->lane.is_mine());
  watch_->events = nullptr;
  if (released_) return;
  if (!watch_->descriptor.is_open()) ::close(fd_);
  boost::system::error_code ignored;
  watch_->descriptor.close(ignored);
}

int Descriptor::release() {
  watch_->events = nullptr;
  released_ = true;
  return watch_->descriptor.is_open() ? watch_->descriptor.release() : fd_;
}

void Descriptor::want_readable() {
  if (std::exchange(watch_->awaits_readable, true)) return;
  watch_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                [watch = watch_](const boost::system::error_code&) {
                                  watch->awaits_readable = false;
                                  if (watch->events == nullptr) return;
                                  watch->lane.loop().run_as(&watch->lane,
                                                            [&] { watch->events->on_readable(); });
                                });
}

void Descriptor::want_writable() {
  if (std::exchange(watch_->awaits_writable, true)) return;
  watch_->descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                [watch = watch_](const boost::system::error_code&) {
                                  watch->awaits_writable = false;
                                  if (watch->events == nullptr) return;
                                  watch->lane.loop().run_as(&watch->lane,
                                                            [&] { watch->events->on_writable(); });
                                });
}

}  // namespace keelson::env::posix
