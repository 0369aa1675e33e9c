// SimulatedNetwork: connections between the hosts of a World. Internal to env/simulated; what it
// promises stands in world.h.
//
// A Connection is what "the kernels" at both ends know: two Pipes of pieces under way or not yet
// read. The streams at its ends come (by accept, connect) and go; it is shared by them and by the
// jobs that carry its pieces. Everything runs as jobs of the lanes of the two streams.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "env/simulated/simulated_lane.h"
#include "env/stream.h"

namespace keelson::env::simulated::internal {

class SimulatedListener;
class SimulatedStream;
struct ListenerState;

struct Connection : std::enable_shared_from_this<Connection> {
  struct Piece {
    base::TimePoint arrival;
    std::string bytes;
    bool is_end = false;
  };
  // From end i to end 1 - i.
  struct Pipe {
    std::deque<Piece> pieces;
    std::size_t bytes = 0;  // in the pieces
    base::TimePoint last_arrival{};
  };
  struct End {
    Host* host = nullptr;
    SimulatedLane* lane = nullptr;            // nullptr: not accepted yet
    SimulatedStream* stream = nullptr;        // nullptr: not there yet, or gone
    std::optional<base::TimePoint> reset_at;  // from then on it is told, if it can be reached
    std::string address;
  };

  explicit Connection(World& of) : world(of) {}

  // Puts bytes, or the end, under way to the end that is not `from`.
  void send(int from, std::string bytes, bool is_end);
  // What has arrived at end `at`, if it can be had now.
  void deliver_later(int at, base::TimePoint when);
  void deliver(int at);
  // The other end has read: there is room again.
  void make_room_later(int at);
  void reset_later(int at);
  bool is_cut_towards(int at) const;

  World& world;
  Pipe pipes[2];
  End ends[2];
};

class SimulatedStream final : public Stream {
 public:
  SimulatedStream(std::shared_ptr<Connection> connection, int end,
                  std::shared_ptr<ListenerState> listener);
  ~SimulatedStream() override;

  void start(StreamHandler& handler) override;
  void write(std::string&& bytes) override;
  void write(std::vector<base::SharedBytes> pieces) override;
  std::size_t unsent() const override { return unsent_.size(); }
  void pause_reading() override { paused_ = true; }
  void resume_reading() override;
  void close_gracefully(base::Duration linger) override;
  const std::string& peer_address() const override { return peer_address_; }
  const std::string& local_address() const override { return local_address_; }
  Lane& lane() override { return lane_; }

  // Reads one piece, or a part of it, that has arrived.
  void on_readable();
  void on_room();
  void end_now(base::Error error);
  // The process died: the other end sees a reset, this one hears nothing more.
  void die();
  Host& peer_host() const { return *connection_->ends[1 - end_].host; }
  // Something on the way broke the connection: both ends will hear of it.
  void break_off();
  // The link may have been healed: looks again for whatever could go on.
  void wake();

 private:
  enum class State { kOpen, kDraining, kLingering, kClosed };

  Connection::Pipe& incoming() { return connection_->pipes[1 - end_]; }
  void send_queued();
  void finish_sending();
  void end_soon(base::Error error);
  void leave();
  void set_timer(base::Duration delay, base::Error error);

  const std::shared_ptr<Connection> connection_;
  const int end_;
  SimulatedLane& lane_;
  const std::string local_address_;
  const std::string peer_address_;
  std::shared_ptr<ListenerState> listener_;  // of an accepted one, which counts it
  State state_ = State::kOpen;
  StreamHandler* handler_ = nullptr;
  bool paused_ = false;
  bool peer_ended_ = false;
  std::string unsent_;
  TimerId timer_ = 0;
};

// Shared by a listener, its connections and the jobs that bring new ones.
struct ListenerState : std::enable_shared_from_this<ListenerState> {
  bool is_open = true;
  ListenOptions options;
  std::vector<SimulatedLane*> lanes;
  std::function<void(std::unique_ptr<Stream>)> on_accept;
  std::size_t next = 0;
  std::size_t connections = 0;
  std::deque<std::shared_ptr<Connection>> waiting;  // for the number of connections to fall

  void arrive(std::shared_ptr<Connection> connection);
  void accept_later(std::shared_ptr<Connection> connection, base::TimePoint when);
  void on_connection_gone();
};

class SimulatedNetwork final : public Network {
 public:
  SimulatedNetwork(World& world, Host& host) : world_(world), host_(host) {}
  ~SimulatedNetwork() override;

  base::Result<std::unique_ptr<Listener>> listen(
      const std::string& address, ListenOptions options, std::vector<Lane*> lanes,
      std::function<void(std::unique_ptr<Stream>)> on_accept) override;
  void connect(Lane& lane, const std::string& address, base::Duration timeout,
               base::Function<void(base::Result<std::unique_ptr<Stream>>)> done) override;

  void break_all();
  void break_with(const Host& peer);
  void links_changed();

 private:
  friend class SimulatedStream;
  friend class SimulatedListener;
  struct Attempt;
  struct Port {
    std::string name;  // what follows the host: "2380", or "unix:/path"
    std::shared_ptr<ListenerState> listener;
  };
  // Where an address leads: nullptr if no host has that name.
  struct Target {
    Host* host;
    std::string port;
  };

  base::Result<Target> resolve(const std::string& address);
  std::shared_ptr<ListenerState> find(std::string_view port) const;
  void knock(std::shared_ptr<Attempt> attempt);
  static void finish(Attempt& attempt, base::Result<std::unique_ptr<Stream>> result);

  World& world_;
  Host& host_;
  std::vector<Port> ports_;
  std::vector<SimulatedStream*> streams_;  // by age
  int next_port_ = 30'000;
};

}  // namespace keelson::env::simulated::internal
