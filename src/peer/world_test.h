// Members on a simulated network, for the tests of peer/: each a Transport, a server for its peer
// port and a Handler that notes what it hears.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "env/log.h"
#include "env/simulated/world.h"
#include "http/http1_client.h"
#include "http/server.h"
#include "membership/member.h"
#include "peer/transport.h"
#include "raft/describe.h"

namespace keelson::peer::testing {

using raft::Entry;
using raft::Message;
using raft::MessageType;
using raft::NodeId;

inline constexpr std::uint64_t kCluster = 0xc1;

// Thousands of lines about connections that come and go.
inline const bool kQuiet = env::open_log({.outputs = {"/dev/null"}}).ok();

inline std::string host_name(NodeId id) { return fmt::format("n{}", id); }
inline std::string url_of(NodeId id) { return fmt::format("http://n{}:2380", id); }

inline Message heartbeat(NodeId from, NodeId to, raft::Term term = 1) {
  return {.type = MessageType::kHeartbeat, .to = to, .from = from, .term = term};
}
inline Message append(NodeId from, NodeId to, raft::Index index, std::size_t bytes = 10) {
  const Entry entry{.term = 1, .index = index, .data = base::SharedBytes(std::string(bytes, 'e'))};
  return {.type = MessageType::kApp,
          .to = to,
          .from = from,
          .term = 1,
          .log_term = 1,
          .index = index - 1,
          .entries = {entry}};
}
inline Message snapshot_message(NodeId from, NodeId to, raft::Index index) {
  return {.type = MessageType::kSnap,
          .to = to,
          .from = from,
          .term = 1,
          .snapshot = raft::Snapshot{
              .data = base::SharedBytes(std::string("{}")),
              .metadata = {.conf_state = {.voters = {from, to}}, .index = index, .term = 1}}};
}

// Gives `size` bytes in pieces; fails before byte `fails_at`; answers at once, or when told to.
class TestSource final : public SnapshotSource {
 public:
  struct State {
    std::uint64_t given = 0;
    std::uint64_t size = 0;
    std::size_t piece = 64 << 10;
    std::uint64_t fails_at = ~std::uint64_t{0};
    bool gone = false;
  };
  TestSource(env::Lane& lane, std::shared_ptr<State> state)
      : lane_(lane), state_(std::move(state)) {}
  ~TestSource() override { state_->gone = true; }

  std::uint64_t size() const override { return state_->size; }
  void next(base::Function<void(Piece)> done) override {
    lane_.post([state = state_, done = std::move(done)]() mutable {
      if (state->given >= state->fails_at) {
        return done(base::fail(base::make_error(std::errc::io_error, "read")));
      }
      const std::size_t size = std::min<std::uint64_t>(state->piece, state->size - state->given);
      state->given += size;
      done(base::SharedBytes(std::string(size, 'f')));
    });
  }

 private:
  env::Lane& lane_;
  const std::shared_ptr<State> state_;
};

class Member;

class TestSink final : public SnapshotSink {
 public:
  TestSink(Member& member, raft::Index index) : member_(member), index_(index) {}
  ~TestSink() override;
  void write(base::SharedBytes bytes, Done done) override;
  void finish(Done done) override;

 private:
  Member& member_;
  const raft::Index index_;
  std::uint64_t bytes_ = 0;
};

class Member final : public Handler, public http::RequestRouter, public Observer {
 public:
  Member(env::simulated::World& world, NodeId the_id, std::function<void(Options&)> change = {})
      : id(the_id),
        host(world.host(host_name(the_id))),
        lane(host.lane("peer")),
        connector(make_plain_connector(host.network())) {
    Options options{.member_id = id, .cluster_id = kCluster, .peer_urls = {url_of(id)}};
    if (change) change(options);
    transport = std::make_unique<Transport>(lane, *connector, options, *this, this);
    http::ServerOptions port{.access = {.applies = false}};
    port.http1.head_timeout = port.http1.idle_timeout = base::Seconds(5);
    server = std::make_unique<http::Server>(lane, port, nullptr, this);
    listen();
  }
  ~Member() override {
    listener.reset();
    transport.reset();
    server.reset();
  }

  void listen() {
    listener = std::move(host.network().listen("0.0.0.0:2380", {}, {&lane}, [this](auto stream) {
                 server->accept(std::move(stream));
               })).value();
  }

  void know(NodeId other) { transport->add_peer(other, {url_of(other)}); }
  bool send(Message message) {
    std::vector<Message> batch;
    batch.push_back(std::move(message));
    return transport->send(std::move(batch));
  }

  std::string take() {
    std::string all;
    for (const auto& each : std::exchange(events, {})) all += (all.empty() ? "" : ", ") + each;
    return all;
  }
  bool heard(std::string_view event) const {
    return std::ranges::find(events, event) != events.end();
  }
  // Requests that came to the port, by path.
  int asked(std::string_view path) const {
    const auto found = requests.find(std::string(path));
    return found == requests.end() ? 0 : found->second;
  }
  const PeerStats& stats(NodeId of) const {
    for (const auto& each : transport->stats()) {
      if (each->id == of) return *each;
    }
    static const PeerStats kNothing(raft::kNone);
    return kNothing;
  }

  const NodeId id;
  env::simulated::Host& host;
  env::Lane& lane;
  std::vector<std::string> events;
  std::map<std::string, int> requests;
  std::vector<Message> messages;  // if keep_messages
  std::set<NodeId> removed;
  bool keep_messages = false;
  bool full = false;        // receive() refuses
  std::string open_error;   // open_snapshot() fails
  std::string write_error;  // a sink's write fails
  std::string finish_error;
  bool hold_writes = false;  // sinks answer only when release() is called
  std::deque<base::Job> held;
  std::uint64_t sink_bytes = 0;
  std::size_t largest_write = 0;

  std::unique_ptr<Connector> connector;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<env::Listener> listener;

 private:
  http::Route route(const http::Request& head) override {
    ++requests[head.path];
    return transport->route(head);
  }

  bool is_removed(NodeId other) const override { return removed.contains(other); }
  bool receive(Message message) override {
    if (full) return false;
    if (keep_messages) {
      messages.push_back(std::move(message));
    } else {
      events.push_back(fmt::format(
          "{} from {}{}", raft::describe(message.type), message.from,
          message.entries.empty() ? "" : fmt::format(" @{}", message.entries.front().index)));
    }
    return true;
  }
  base::Result<std::unique_ptr<SnapshotSink>> open_snapshot(const Message& message) override {
    if (!open_error.empty()) {
      return base::fail(base::make_error(std::errc::no_space_on_device, open_error));
    }
    events.push_back(fmt::format("snapshot {} opens", message.snapshot->metadata.index));
    return std::make_unique<TestSink>(*this, message.snapshot->metadata.index);
  }
  void on_unreachable(NodeId other) override {
    events.push_back(fmt::format("unreachable {}", other));
  }
  void on_snapshot_sent(NodeId other, SnapshotOutcome outcome) override {
    events.push_back(fmt::format("snapshot to {} {}", other,
                                 outcome == SnapshotOutcome::kFinished ? "finished" : "failed"));
  }
  void on_member_removed(NodeId by) override {
    events.push_back(fmt::format("removed, says {}", by));
  }
  void on_round_trip(NodeId other, base::Duration smoothed) override {
    round_trips[other].push_back(smoothed);
  }
  void on_snapshot_send(NodeId, base::Duration took) override { sent_took = took; }
  void on_snapshot_receive(NodeId, base::Duration took) override { received_took = took; }

 public:
  std::map<NodeId, std::vector<base::Duration>> round_trips;
  base::Duration sent_took{0};
  base::Duration received_took{0};
};

inline TestSink::~TestSink() { member_.events.push_back(fmt::format("sink {} gone", index_)); }
inline void TestSink::write(base::SharedBytes bytes, Done done) {
  bytes_ += bytes.size();
  member_.sink_bytes += bytes.size();
  member_.largest_write = std::max(member_.largest_write, bytes.size());
  auto answer = [error = member_.write_error, done = std::move(done)]() mutable {
    error.empty() ? done({}) : done(base::fail(base::make_error(std::errc::io_error, error)));
  };
  if (member_.hold_writes) return member_.held.push_back(std::move(answer));
  member_.lane.post(std::move(answer));
}
inline void TestSink::finish(Done done) {
  member_.events.push_back(fmt::format("sink {} whole: {}", index_, bytes_));
  member_.lane.post([error = member_.finish_error, done = std::move(done)]() mutable {
    error.empty() ? done({}) : done(base::fail(base::make_error(std::errc::io_error, error)));
  });
}

// A stranger's requests, one connection each: what is answered.
class Stranger final : private http::ResponseHandler {
 public:
  Stranger(env::simulated::World& world, std::string name)
      : world_(world),
        host_(world.host(name)),
        lane_(host_.lane("main")),
        connector_(make_plain_connector(host_.network())) {}
  ~Stranger() override { client.reset(); }

  // Fields that pass all checks.
  static http::Headers good(NodeId from = 9) {
    return {{"X-Server-From", membership::id_text(from)},
            {"X-Server-Version", "3.7.1"},
            {"X-Min-Cluster-Version", "3.0.0"},
            {"X-Etcd-Cluster-ID", membership::id_text(kCluster)}};
  }

  // "204", "412 incompatible version", "failed"; "200 ..." while a body without end goes on.
  std::string ask(NodeId to, http::ClientRequest request,
                  const std::function<void(http::Http1Client&)>& body = {}) {
    begin(to, std::move(request));
    world_.run_until([&] { return client != nullptr; }, base::Seconds(5));
    if (body && client) body(*client);
    world_.run_until([&] { return done; }, base::Seconds(2));
    std::string answer = said + (status == 200 && !done ? " ..." : "");
    return answer;
  }
  void begin(NodeId to, http::ClientRequest request) {
    client.reset();
    done = false;
    said.clear();
    content.clear();
    head = {};
    status = 0;
    const auto url = std::move(membership::parse_url(url_of(to))).value();
    lane_.post([this, url, request = std::move(request)]() mutable {
      connector_->connect(lane_, url, base::Seconds(5),
                          [this, request = std::move(request)](auto stream) mutable {
                            if (!stream) return;
                            client = std::make_unique<http::Http1Client>(lane_, *std::move(stream));
                            client->start(std::move(request), *this);
                          });
    });
  }

  std::unique_ptr<http::Http1Client> client;
  http::ResponseHead head;
  std::string said, content;
  int status = 0;
  bool done = false;

 private:
  void on_head(const http::ResponseHead& the_head) override {
    head = the_head;
    status = the_head.status;
    said = fmt::format("{}", status);
  }
  void on_body(std::string_view bytes) override { content += bytes; }
  void on_end() override {
    done = true;
    std::string text = content;
    if (text.ends_with('\n')) text.pop_back();
    if (!text.empty()) said += " " + text;
  }
  void on_failed(const http::RequestFailure&) override {
    done = true;
    std::string text = content;
    if (text.ends_with('\n')) text.pop_back();
    if (!text.empty()) said += " " + text;
    said += said.empty() ? "failed" : " failed";
  }

  env::simulated::World& world_;
  env::simulated::Host& host_;
  env::Lane& lane_;
  std::unique_ptr<Connector> connector_;
};

}  // namespace keelson::peer::testing
