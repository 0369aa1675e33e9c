// Descriptor: a file descriptor whose readiness a lane is told. Internal to env/posix.
#pragma once

#include <memory>

#include "env/posix/loop.h"

namespace keelson::env::posix {

class Descriptor {
 public:
  // Called as jobs of the lane; either may destroy the Descriptor.
  class Events {
   public:
    virtual void on_readable() = 0;
    virtual void on_writable() = 0;

   protected:
    ~Events() = default;
  };

  // Takes the descriptor over, non-blocking already. In the lane, as everything here.
  Descriptor(LoopLane& lane, int fd, Events& events);
  ~Descriptor();  // closes; no event comes after
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int fd() const { return fd_; }
  // Gives the file descriptor back, open; nothing but the destructor may follow.
  int release();
  // One event, as soon as a read (a write) would not block or would fail. Asking twice is asking
  // once.
  void want_readable();
  void want_writable();

 private:
  struct Watch;
  const int fd_;
  bool released_ = false;
  const std::shared_ptr<Watch> watch_;  // shared with the requests Asio still holds
};

}  // namespace keelson::env::posix
