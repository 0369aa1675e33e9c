#include "env/simulated/simulated_network.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace keelson::env::simulated::internal {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr base::Duration kRetransmit = base::Milliseconds(20);

base::Error reset_error(const std::string& address) {
  return base::make_error(std::errc::connection_reset, "receive " + address);
}

}  // namespace

void Connection::send(int from, std::string bytes, bool is_end) {
  Pipe& pipe = pipes[from];
  const End& to = ends[1 - from];
  const auto arrival =
      std::max(pipe.last_arrival, world.now() + world.latency(*ends[from].host, *to.host));
  pipe.last_arrival = arrival;
  pipe.bytes += bytes.size();
  pipe.pieces.push_back({arrival, std::move(bytes), is_end});
  deliver_later(1 - from, arrival);
}

void Connection::deliver_later(int at, base::TimePoint when) {
  if (ends[at].lane == nullptr) return;  // start() will ask
  ends[at].lane->post_at(when, [self = shared_from_this(), at] { self->deliver(at); });
}

void Connection::deliver(int at) {
  if (is_cut_towards(at)) return;  // wake() comes when it heals
  End& end = ends[at];
  if (end.reset_at && *end.reset_at <= world.now()) {
    if (end.stream != nullptr) end.stream->end_now(reset_error(ends[1 - at].address));
    return;
  }
  if (end.stream != nullptr) return end.stream->on_readable();
  Pipe& pipe = pipes[1 - at];
  if (pipe.bytes > 0) reset_later(1 - at);  // it spoke to somebody who has closed
  pipe.pieces.clear();
  pipe.bytes = 0;
}

void Connection::make_room_later(int at) {
  const End& end = ends[at];
  if (end.lane == nullptr) return;
  const auto when = world.now() + world.latency(*ends[1 - at].host, *end.host);
  end.lane->post_at(when, [self = shared_from_this(), at] {
    if (self->is_cut_towards(at)) return;
    if (self->ends[at].stream != nullptr) self->ends[at].stream->on_room();
  });
}

void Connection::reset_later(int at) {
  if (!ends[at].reset_at) {
    ends[at].reset_at = world.now() + world.latency(*ends[1 - at].host, *ends[at].host);
  }
  deliver_later(at, *ends[at].reset_at);
}

bool Connection::is_cut_towards(int at) const {
  return world.is_cut(*ends[1 - at].host, *ends[at].host);
}

SimulatedStream::SimulatedStream(std::shared_ptr<Connection> connection, int end,
                                 std::shared_ptr<ListenerState> listener)
    : connection_(std::move(connection)),
      end_(end),
      lane_(*connection_->ends[end].lane),
      local_address_(connection_->ends[end].address),
      peer_address_(connection_->ends[1 - end].address),
      listener_(std::move(listener)) {
  connection_->ends[end].stream = this;
  static_cast<SimulatedNetwork&>(lane_.host().network()).streams_.push_back(this);
}

SimulatedStream::~SimulatedStream() {
  if (state_ != State::kClosed) {
    // As a kernel does: bytes nobody will read turn the close into a reset.
    if (incoming().bytes > 0 && state_ == State::kOpen) {
      connection_->reset_later(1 - end_);
    } else if (state_ != State::kLingering) {
      connection_->send(end_, "", true);
    }
    leave();
  }
  if (timer_ != 0) lane_.cancel(timer_);
}

void SimulatedStream::start(StreamHandler& handler) {
  CHECK(handler_ == nullptr);
  handler_ = &handler;
  connection_->deliver_later(end_, connection_->world.now());
}

void SimulatedStream::write(std::string&& bytes) {
  if (state_ != State::kOpen || bytes.empty()) return;
  unsent_.append(bytes);
  send_queued();
}

void SimulatedStream::write(std::vector<base::SharedBytes> pieces) {
  std::string bytes;
  for (const auto& piece : pieces) bytes.append(piece.view());
  write(std::move(bytes));
}

void SimulatedStream::send_queued() {
  World& world = connection_->world;
  const std::size_t under_way = connection_->pipes[end_].bytes;
  const std::size_t bytes_max = world.options().connection_bytes_max;
  const std::size_t room = bytes_max > under_way ? bytes_max - under_way : 0;
  if (room == 0 || unsent_.empty()) return;
  const std::uint64_t reset_one_in = world.options().reset_one_in;
  if (reset_one_in != 0 && world.random().one_in(reset_one_in)) {
    connection_->reset_later(1 - end_);
    return end_soon(reset_error(peer_address_));
  }
  connection_->send(end_, unsent_.substr(0, room), false);
  unsent_.erase(0, room);
}

void SimulatedStream::on_room() {
  if (state_ == State::kClosed || unsent_.empty()) return;
  send_queued();
  if (state_ == State::kClosed || !unsent_.empty()) return;
  if (state_ == State::kDraining) return finish_sending();
  if (handler_ != nullptr) handler_->on_drained();
}

void SimulatedStream::on_readable() {
  if (handler_ == nullptr || (paused_ && state_ == State::kOpen)) return;
  World& world = connection_->world;
  auto& pipe = incoming();
  if (pipe.pieces.empty() || pipe.pieces.front().arrival > world.now()) return;
  auto& piece = pipe.pieces.front();
  if (piece.is_end) {
    pipe.pieces.pop_front();
    peer_ended_ = true;
    if (state_ == State::kOpen) return handler_->on_end();
    if (state_ == State::kLingering) end_now(base::Error{{}, "closed"});
    return;
  }
  // Often less than was sent at once: nobody may rely on how bytes are grouped.
  const std::size_t all = piece.bytes.size();
  const std::size_t take = world.random().one_in(3) ? 1 + world.random().below(all) : all;
  const std::string bytes = piece.bytes.substr(0, take);
  piece.bytes.erase(0, take);
  if (piece.bytes.empty()) pipe.pieces.pop_front();
  pipe.bytes -= take;
  connection_->make_room_later(1 - end_);
  if (!pipe.pieces.empty() && pipe.pieces.front().arrival <= world.now()) {
    connection_->deliver_later(end_, world.now());
  }
  if (state_ == State::kOpen) handler_->on_bytes(bytes);
}

void SimulatedStream::resume_reading() {
  if (!std::exchange(paused_, false)) return;
  connection_->deliver_later(end_, connection_->world.now());
}

void SimulatedStream::close_gracefully(base::Duration linger) {
  if (state_ != State::kOpen) return;
  state_ = State::kDraining;
  set_timer(linger, base::make_error(std::errc::timed_out, "close " + peer_address_));
  connection_->deliver_later(end_, connection_->world.now());
  if (unsent_.empty()) finish_sending();
}

void SimulatedStream::finish_sending() {
  state_ = State::kLingering;
  connection_->send(end_, "", true);
  if (peer_ended_) end_soon(base::Error{{}, "closed"});
}

void SimulatedStream::end_now(base::Error error) {
  if (state_ != State::kClosed) leave();
  if (timer_ != 0) lane_.cancel(std::exchange(timer_, 0));
  if (handler_ != nullptr) std::exchange(handler_, nullptr)->on_closed(error);
}

void SimulatedStream::end_soon(base::Error error) {
  leave();
  set_timer(base::Duration::zero(), std::move(error));
}

void SimulatedStream::die() {
  handler_ = nullptr;
  connection_->reset_later(1 - end_);
  leave();
}

void SimulatedStream::break_off() {
  connection_->reset_later(end_);
  connection_->reset_later(1 - end_);
}

void SimulatedStream::wake() {
  connection_->deliver_later(end_, connection_->world.now());
  connection_->make_room_later(end_);
}

void SimulatedStream::leave() {
  state_ = State::kClosed;
  unsent_.clear();
  connection_->ends[end_].stream = nullptr;
  std::erase(static_cast<SimulatedNetwork&>(lane_.host().network()).streams_, this);
  if (const auto listener = std::exchange(listener_, nullptr)) listener->on_connection_gone();
}

void SimulatedStream::set_timer(base::Duration delay, base::Error error) {
  if (timer_ != 0) lane_.cancel(timer_);
  timer_ = lane_.after(delay, [this, error = std::move(error)]() mutable {
    timer_ = 0;
    end_now(std::move(error));
  });
}

void ListenerState::arrive(std::shared_ptr<Connection> connection) {
  if (options.connections_max != 0 && connections >= options.connections_max) {
    waiting.push_back(std::move(connection));
    return;
  }
  World& world = connection->world;
  const auto when =
      world.now() + world.latency(*connection->ends[0].host, *connection->ends[1].host);
  accept_later(std::move(connection), when);
}

namespace {

// A connection on its way to be accepted. If the machine dies before, the other end is reset: the
// job that holds this is destroyed unrun.
class Accepting {
 public:
  explicit Accepting(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  Accepting(Accepting&&) = default;
  ~Accepting() {
    if (connection_ != nullptr) connection_->reset_later(0);
  }
  std::shared_ptr<Connection> take() { return std::move(connection_); }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace

void ListenerState::accept_later(std::shared_ptr<Connection> connection, base::TimePoint when) {
  connections++;
  SimulatedLane& lane = *lanes[next++ % lanes.size()];
  connection->ends[1].lane = &lane;
  // No byte of it comes before it.
  connection->pipes[0].last_arrival = std::max(connection->pipes[0].last_arrival, when);
  lane.post_at(when,
               [self = shared_from_this(), accepting = Accepting(std::move(connection))]() mutable {
                 if (!self->is_open) {
                   self->connections--;
                   return;
                 }
                 self->on_accept(std::make_unique<SimulatedStream>(accepting.take(), 1, self));
               });
}

void ListenerState::on_connection_gone() {
  connections--;
  if (waiting.empty()) return;
  auto first = std::move(waiting.front());
  waiting.pop_front();
  World& world = first->world;
  accept_later(std::move(first), world.now());
}

class SimulatedListener final : public Listener {
 public:
  SimulatedListener(SimulatedNetwork& network, std::shared_ptr<ListenerState> state,
                    std::string address)
      : network_(network), state_(std::move(state)), address_(std::move(address)) {}
  ~SimulatedListener() override {
    state_->is_open = false;
    for (const auto& connection : std::exchange(state_->waiting, {})) connection->reset_later(0);
    std::erase_if(network_.ports_, [&](const auto& port) { return port.listener == state_; });
  }
  const std::string& address() const override { return address_; }

 private:
  SimulatedNetwork& network_;
  const std::shared_ptr<ListenerState> state_;
  const std::string address_;
};

SimulatedNetwork::~SimulatedNetwork() {
  CHECK(ports_.empty());
  CHECK(streams_.empty());
}

base::Result<SimulatedNetwork::Target> SimulatedNetwork::resolve(const std::string& address) {
  if (address.starts_with(kUnixPrefix)) return Target{&host_, address};
  const auto refuse = [&](std::errc code) {
    return base::fail(base::make_error(code, "address " + address));
  };
  const auto colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) return refuse(std::errc::invalid_argument);
  const auto name = address.substr(0, colon);
  const auto port = address.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (ec != std::errc() || end != port.data() + port.size()) {
    return refuse(std::errc::invalid_argument);
  }
  for (const auto* self : {"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"}) {
    if (name == self) return Target{&host_, port};
  }
  for (const auto& host : world_.hosts_) {
    if (host->name() == name) return Target{host.get(), port};
  }
  return refuse(std::errc::host_unreachable);
}

std::shared_ptr<ListenerState> SimulatedNetwork::find(std::string_view port) const {
  const auto it = std::find_if(ports_.begin(), ports_.end(),
                               [&](const auto& known) { return known.name == port; });
  return it == ports_.end() ? nullptr : it->listener;
}

base::Result<std::unique_ptr<Listener>> SimulatedNetwork::listen(
    const std::string& address, ListenOptions options, std::vector<Lane*> lanes,
    std::function<void(std::unique_ptr<Stream>)> on_accept) {
  CHECK(!lanes.empty());
  ASSIGN_OR_RETURN(Target target, resolve(address));
  const auto refuse = [&](std::errc code) {
    return base::fail(base::make_error(code, "bind " + address));
  };
  if (target.host != &host_) return refuse(std::errc::address_not_available);
  if (target.port == "0") target.port = std::to_string(next_port_++);
  if (find(target.port) && !options.reuse_port) return refuse(std::errc::address_in_use);
  auto state = std::make_shared<ListenerState>();
  state->options = options;
  for (Lane* lane : lanes) state->lanes.push_back(static_cast<SimulatedLane*>(lane));
  state->on_accept = std::move(on_accept);
  ports_.push_back({target.port, state});
  const auto bound = target.port.starts_with(kUnixPrefix)
                         ? target.port
                         : fmt::format("{}:{}", host_.name(), target.port);
  return std::unique_ptr<Listener>(
      std::make_unique<SimulatedListener>(*this, std::move(state), bound));
}

// One call of connect(). It knocks, and again while the link is cut, until it is answered or out of
// time.
struct SimulatedNetwork::Attempt {
  SimulatedLane& lane;
  std::string address;
  base::Function<void(base::Result<std::unique_ptr<Stream>>)> done;  // none: it was called
  TimerId timer = 0;
};

void SimulatedNetwork::finish(Attempt& attempt, base::Result<std::unique_ptr<Stream>> result) {
  if (attempt.timer != 0) attempt.lane.cancel(std::exchange(attempt.timer, 0));
  std::exchange(attempt.done, nullptr)(std::move(result));
}

void SimulatedNetwork::connect(Lane& lane, const std::string& address, base::Duration timeout,
                               base::Function<void(base::Result<std::unique_ptr<Stream>>)> done) {
  auto attempt = std::make_shared<Attempt>(static_cast<SimulatedLane&>(lane), address,
                                           std::move(done), TimerId{0});
  attempt->timer = lane.after(timeout, [attempt] {
    attempt->timer = 0;
    finish(*attempt,
           base::fail(base::make_error(std::errc::timed_out, "connect " + attempt->address)));
  });
  // There and back.
  const auto target = resolve(address);
  const auto delay =
      target ? world_.latency(host_, *target->host) + world_.latency(*target->host, host_)
             : base::Duration::zero();
  attempt->lane.post_at(world_.now() + delay, [this, attempt] { knock(attempt); });
}

void SimulatedNetwork::knock(std::shared_ptr<Attempt> attempt) {
  if (!attempt->done) return;
  const auto target = resolve(attempt->address);
  if (!target) return finish(*attempt, base::fail(target.error()));
  Host& peer = *target->host;
  if (world_.is_cut(host_, peer) || world_.is_cut(peer, host_)) {
    attempt->lane.post_at(world_.now() + kRetransmit, [this, attempt] { knock(attempt); });
    return;
  }
  const auto listener = peer.is_alive() ? peer.network_->find(target->port) : nullptr;
  if (!listener) {
    return finish(*attempt, base::fail(base::make_error(std::errc::connection_refused,
                                                        "connect " + attempt->address)));
  }
  auto connection = std::make_shared<Connection>(world_);
  const bool is_unix = target->port.starts_with(kUnixPrefix);
  connection->ends[0] = {
      .host = &host_,
      .lane = &attempt->lane,
      .address = is_unix ? "@" : fmt::format("{}:{}", host_.name(), next_port_++)};
  connection->ends[1] = {
      .host = &peer,
      .address = is_unix ? target->port : fmt::format("{}:{}", peer.name(), target->port)};
  auto stream = std::make_unique<SimulatedStream>(connection, 0, nullptr);
  listener->arrive(std::move(connection));
  finish(*attempt, std::unique_ptr<Stream>(std::move(stream)));
}

void SimulatedNetwork::break_all() {
  for (auto* stream : std::vector(streams_)) stream->die();
  for (const auto& port : std::exchange(ports_, {})) {
    port.listener->is_open = false;
    for (const auto& connection : std::exchange(port.listener->waiting, {})) {
      connection->reset_later(0);
    }
  }
}

void SimulatedNetwork::break_with(const Host& peer) {
  for (auto* stream : std::vector(streams_)) {
    if (&stream->peer_host() != &peer) continue;
    stream->break_off();
  }
}

void SimulatedNetwork::links_changed() {
  for (auto* stream : streams_) stream->wake();
}

}  // namespace keelson::env::simulated::internal
