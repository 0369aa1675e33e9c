// SocketStream: a connected TCP or unix socket. Internal to env/posix.
//
//   Open --close_gracefully--> Draining --queue empty--> Lingering --peer's end or time--> Closed
//   Open, Draining, Lingering --the connection breaks--> Closed --told--> on_closed
//
// Reading costs one recv into the buffer of the thread per readiness event. Writing is tried at
// once; only what the kernel does not take is queued and awaits writability.
//
// The end found inside a call of the owner (write, close_gracefully) is told by a timer that is due
// at once, so that no call comes from within a call and none after the stream is gone.
#pragma once

#include <optional>
#include <variant>

#include "env/posix/descriptor.h"
#include "env/stream.h"

namespace keelson::env::posix {

class SocketStream final : public Stream, public Descriptor::Events {
 public:
  // Takes over a connected, non-blocking socket; sets what its kind of socket needs. `kept` lives
  // until the socket is closed.
  SocketStream(LoopLane& lane, int fd, std::shared_ptr<const void> kept);
  ~SocketStream() override;

  void start(StreamHandler& handler) override;
  void write(std::string&& bytes) override;
  void write(std::vector<base::SharedBytes> pieces) override;
  std::size_t unsent() const override { return unsent_; }
  void pause_reading() override;
  void resume_reading() override;
  void close_gracefully(base::Duration linger) override;
  const std::string& peer_address() const override { return peer_address_; }
  const std::string& local_address() const override { return local_address_; }
  Lane& lane() override { return lane_; }

 private:
  enum class State { kOpen, kDraining, kLingering, kClosed };
  // A part of the queue; one of both.
  using Piece = std::variant<std::string, base::SharedBytes>;

  void on_readable() override;
  void on_writable() override;
  void deliver(std::string_view bytes);
  // Sends from the queue until it is empty or the kernel has enough. Then awaits writability.
  void send_queued();
  void drop_sent(std::size_t bytes);
  bool queue_is_empty() const { return queue_head_ == queue_.size(); }
  void finish_sending();
  // Closed, and on_closed called: now, or soon by the timer.
  void end_now(base::Error error);
  void end_soon(base::Error error);
  void close_socket();
  void set_timer(base::Duration delay, base::Error error);
  base::Error error_of(int error_number, std::string_view operation) const;

  LoopLane& lane_;
  std::shared_ptr<const void> kept_;
  const std::string peer_address_;
  const std::string local_address_;
  std::optional<Descriptor> socket_;  // none when kClosed
  State state_ = State::kOpen;
  StreamHandler* handler_ = nullptr;
  bool paused_ = false;
  bool peer_ended_ = false;
  std::vector<Piece> queue_;
  std::size_t queue_head_ = 0;    // pieces before it are sent
  std::size_t front_offset_ = 0;  // bytes of the first piece that are sent
  std::size_t unsent_ = 0;
  TimerId timer_ = 0;  // the end of the linger time, or the news of the end
};

}  // namespace keelson::env::posix
