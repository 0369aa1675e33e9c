// Members that answer as etcd's would, as far as a client can tell, on simulated machines: http's
// server over one history they share. What they answer can be bent by the test.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "client/client.h"
#include "env/simulated/world.h"
#include "http/server.h"
#include "http/test_services.h"
#include "proto/rpc.pb.h"

namespace keelson::client::fake {

namespace simulated = env::simulated;
using http::Call;
using http::CallHandler;
using http::MethodKind;
using http::Status;
using http::StatusCode;
using http::fake::FunctionHandler;

// The data all members serve: revision r is event r - 2.
struct History {
  std::int64_t revision = 1;
  std::int64_t compacted = 0;
  std::vector<mvccpb::Event> events;
  std::map<std::int64_t, std::int64_t> lease_ttls;
  std::set<std::function<void()>*> on_change;  // of watch streams

  void put(const std::string& key, const std::string& value) {
    mvccpb::Event& event = events.emplace_back();
    event.mutable_kv()->set_key(key);
    event.mutable_kv()->set_value(value);
    event.mutable_kv()->set_mod_revision(++revision);
    const auto listeners = on_change;
    for (const auto* listener : listeners) (*listener)();
  }
};

// One Watch stream of a member.
class WatchStream {
 public:
  WatchStream(Call& call, History& history) : call_(call), history_(history) {
    history_.on_change.insert(&on_change_);
  }
  ~WatchStream() { history_.on_change.erase(&on_change_); }

  void on_request(const pb::WatchRequest& request) {
    if (request.has_create_request()) create(request.create_request());
    if (request.has_cancel_request()) watches_.erase(request.cancel_request().watch_id());
    if (request.has_progress_request()) {
      pb::WatchResponse response = respond(-1);
      send(response);
    }
  }
  std::size_t size() const { return watches_.size(); }

 private:
  struct Watch {
    std::string key;
    std::int64_t next;
    bool fragment;
  };

  void create(const pb::WatchCreateRequest& request) {
    const std::int64_t id = ++last_id_;
    pb::WatchResponse response = respond(id);
    response.set_created(true);
    send(response);
    const std::int64_t start = request.start_revision();
    if (start != 0 && start <= history_.compacted) {
      response.set_created(false);
      response.set_canceled(true);
      response.set_compact_revision(history_.compacted);
      return send(response);
    }
    watches_[id] = {request.key(), start == 0 ? history_.revision + 1 : start, request.fragment()};
    feed();
  }

  void feed() {
    for (auto& [id, watch] : watches_) {
      pb::WatchResponse response = respond(id);
      for (const auto& event : history_.events) {
        if (event.kv().mod_revision() < watch.next) continue;
        if (!watch.key.empty() && event.kv().key() != watch.key) continue;
        *response.add_events() = event;
      }
      watch.next = std::max(watch.next, history_.revision + 1);
      if (response.events_size() > 0) send_in_parts(response, watch.fragment);
    }
  }

  void send_in_parts(pb::WatchResponse& response, bool fragment) {
    if (!fragment) return send(response);
    pb::WatchResponse part = response;
    for (int i = 0; i < response.events_size(); ++i) {
      part.clear_events();
      *part.add_events() = response.events(i);
      part.set_fragment(i + 1 < response.events_size());
      send(part);
    }
  }

  pb::WatchResponse respond(std::int64_t id) {
    pb::WatchResponse response;
    response.mutable_header()->set_revision(history_.revision);
    response.set_watch_id(id);
    return response;
  }
  void send(const pb::WatchResponse& response) { call_.send(response.SerializeAsString()); }

  Call& call_;
  History& history_;
  std::function<void()> on_change_ = [this] { feed(); };
  std::map<std::int64_t, Watch> watches_;
  std::int64_t last_id_ = 0;
};

class FakeMember {
 public:
  FakeMember(simulated::World& world, const std::string& name, History& history)
      : world_(world), host_(world.host(name)), name_(name), history_(history) {
    add_services();
  }

  void start() {
    host_.lane("io").post([this] {
      server_ = std::make_unique<http::Server>(host_.lane("io"), http::ServerOptions{}, &router_,
                                               nullptr);
      auto listening = host_.network().listen(
          "127.0.0.1:2379", {}, {&host_.lane("io")},
          [this](std::unique_ptr<env::Stream> stream) { server_->accept(std::move(stream)); });
      CHECK(listening.ok());
      listener_ = *std::move(listening);
    });
    world_.run_for(base::Milliseconds(1));
  }
  // As by kill -9.
  void kill() {
    host_.kill(simulated::Disk::Crash::kKeepAll);
    listener_.reset();
    server_.reset();
    host_.start();
  }
  void stop_gracefully(base::Duration patience) {
    host_.lane("io").post([this, patience] {
      listener_.reset();
      server_->stop(patience, [] {});
    });
  }

  std::string address() const { return name_ + ":2379"; }

  std::vector<std::string> heard;  // paths, as they came
  // What the next calls are answered with in place of what they ask for; OK: nothing odd.
  std::deque<Status> next_statuses;
  std::vector<Call*> held;  // of Put, while `hold` is set
  bool hold = false;
  std::optional<std::string> last_metadata_hasleader;
  std::size_t watches_open() const { return watch_stream_ ? watch_stream_->size() : 0; }

 private:
  // A unary method: `answer` fills the response.
  template <class Request, class Response>
  void add(std::string_view service, std::string_view method,
           std::function<void(const Request&, Response&)> answer) {
    router_.add(service, method, MethodKind::kUnary, [this, answer](Call& call) {
      heard.emplace_back(call.path());
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [this, &call, answer](http::Message message) {
        if (refuse(call)) return;
        if (hold) return held.push_back(&call);
        Request request;
        CHECK(request.ParseFromString(std::string(message.view())));
        Response response;
        answer(request, response);
        response.mutable_header()->set_revision(history_.revision);
        call.send(response.SerializeAsString());
        call.finish({});
      };
      return handler;
    });
  }

  bool refuse(Call& call) {
    if (next_statuses.empty()) return false;
    const Status status = next_statuses.front();
    next_statuses.pop_front();
    if (status.ok()) return false;
    call.finish(status);
    return true;
  }

  void add_services() {
    add<pb::PutRequest, pb::PutResponse>(
        "etcdserverpb.KV", "Put",
        [this](const auto& request, auto&) { history_.put(request.key(), request.value()); });
    add<pb::RangeRequest, pb::RangeResponse>("etcdserverpb.KV", "Range",
                                             [this](const auto&, auto& response) {
                                               for (const auto& event : history_.events)
                                                 *response.add_kvs() = event.kv();
                                             });
    router_.add("etcdserverpb.KV", "RangeStream", MethodKind::kServerStream, [this](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [this, &call](http::Message) {
        for (const auto& event : history_.events) {
          pb::RangeStreamResponse chunk;
          *chunk.mutable_range_response()->add_kvs() = event.kv();
          call.send(chunk.SerializeAsString());
        }
        Status status;
        if (!next_statuses.empty()) status = next_statuses.front();
        call.finish(status);
      };
      return handler;
    });
    router_.add("etcdserverpb.Watch", "Watch", MethodKind::kBidiStream, [this](Call& call) {
      heard.emplace_back(call.path());
      if (const auto value = call.metadata("hasleader")) last_metadata_hasleader = *value;
      auto handler = std::make_unique<FunctionHandler>();
      if (refuse(call)) return handler;
      auto stream = std::make_shared<WatchStream>(call, history_);
      watch_stream_ = stream.get();
      handler->message = [stream](http::Message message) {
        pb::WatchRequest request;
        CHECK(request.ParseFromString(std::string(message.view())));
        stream->on_request(request);
      };
      handler->gone = [this, stream] {
        if (watch_stream_ == stream.get()) watch_stream_ = nullptr;
      };
      return handler;
    });
    router_.add("etcdserverpb.Lease", "LeaseKeepAlive", MethodKind::kBidiStream,
                [this](Call& call) {
                  heard.emplace_back(call.path());
                  auto handler = std::make_unique<FunctionHandler>();
                  handler->message = [this, &call](http::Message message) {
                    pb::LeaseKeepAliveRequest request;
                    CHECK(request.ParseFromString(std::string(message.view())));
                    renewals.push_back(world_.now());
                    if (mute) return;
                    pb::LeaseKeepAliveResponse response;
                    response.set_id(request.id());
                    const auto it = history_.lease_ttls.find(request.id());
                    response.set_ttl(it == history_.lease_ttls.end() ? 0 : it->second);
                    call.send(response.SerializeAsString());
                  };
                  handler->half_close = [&call] { call.finish({}); };
                  return handler;
                });
  }

  simulated::World& world_;
  simulated::Host& host_;
  const std::string name_;
  History& history_;
  http::Router router_;
  WatchStream* watch_stream_ = nullptr;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<env::Listener> listener_;

 public:
  std::vector<base::TimePoint> renewals;
  bool mute = false;  // keep-alives are not answered
};

// A client's machine and some members.
class Cluster {
 public:
  explicit Cluster(std::uint64_t seed, std::size_t size = 1, simulated::WorldOptions options = {})
      : world(seed, options), client_host(world.host("client")) {
    for (std::size_t i = 1; i <= size; ++i) {
      const std::string name = "m" + std::to_string(i);
      members.push_back(std::make_unique<FakeMember>(world, name, history));
    }
  }
  ~Cluster() {
    client_host.lane("client").post([this] { client.reset(); });
    world.run_for(base::Seconds(1));
    for (auto& member : members) member->kill();
  }

  void start_all() {
    for (auto& member : members) member->start();
  }
  Options options() const {
    Options options;
    options.endpoints.clear();
    for (const auto& member : members) options.endpoints.push_back(member->address());
    return options;
  }
  void connect() { connect(options()); }
  void connect(Options options) {
    in_lane([&] {
      client = std::make_unique<Client>(client_host.lane("client"), client_host.network(),
                                        std::move(options));
    });
  }
  // Runs it as a job of the client's lane.
  void in_lane(std::function<void()> job) {
    bool ran = false;
    client_host.lane("client").post([&] {
      job();
      ran = true;
    });
    CHECK(world.run_until([&] { return ran; }, base::Seconds(10)));
  }
  bool until(const std::function<bool()>& done, base::Duration limit = base::Seconds(60)) {
    return world.run_until(done, limit);
  }

  simulated::World world;
  simulated::Host& client_host;
  History history;
  std::vector<std::unique_ptr<FakeMember>> members;
  std::unique_ptr<Client> client;
};

}  // namespace keelson::client::fake
