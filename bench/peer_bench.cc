// What a message between two members costs, both ends together: an append of one entry of 1 KB one
// way, its answer the other, over loopback. Each member is one lane on its own thread; so many
// appends go in one batch, as a raft lane hands over what a turn gathered, and the next batch when
// all have been answered.
//
//   peer_bench                cpu_us is the process's CPU time for one append and its answer
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include <condition_variable>
#include <memory>
#include <mutex>

#include "base/check.h"
#include "env/log.h"
#include "env/posix/runtime.h"
#include "http/server.h"
#include "peer/transport.h"

namespace keelson {
namespace {

class Member final : public peer::Handler, public http::RequestRouter {
 public:
  Member(env::posix::Runtime& runtime, const std::string& lane, raft::NodeId id)
      : id_(id),
        lane_(runtime.lane(lane)),
        connector_(peer::make_plain_connector(runtime.network())),
        transport_(lane_, *connector_, {.member_id = id, .cluster_id = 1}, *this, nullptr),
        server_(lane_, http::ServerOptions{.access = {.applies = false}}, nullptr, this),
        listener_(
            std::move(runtime.network().listen("127.0.0.1:0", {}, {&lane_}, [this](auto stream) {
              server_.accept(std::move(stream));
            })).value()) {}

  void know(const Member& other) {
    transport_.add_peer(other.id_, {"http://" + other.listener_->address()});
  }
  bool connected() const { return transport_.active_peers() == 1; }

  // Appends from `next` on; returns when all are answered.
  void append(raft::NodeId to, raft::Index next, int count) {
    std::vector<raft::Message> batch;
    for (int i = 0; i < count; ++i) {
      const raft::Index index = next + static_cast<raft::Index>(i);
      batch.push_back({.type = raft::MessageType::kApp,
                       .to = to,
                       .from = id_,
                       .term = 1,
                       .log_term = 1,
                       .index = index - 1,
                       .entries = {{.term = 1, .index = index, .data = data_}},
                       .commit = index - 1});
    }
    {
      const std::scoped_lock lock(mutex_);
      missing_ = count;
    }
    CHECK(transport_.send(std::move(batch)));
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [&] { return missing_ == 0; });
  }

 private:
  http::Route route(const http::Request& head) override { return transport_.route(head); }
  bool is_removed(raft::NodeId) const override { return false; }
  bool receive(raft::Message message) override {
    if (message.type == raft::MessageType::kAppResp) {
      const std::scoped_lock lock(mutex_);
      if (--missing_ == 0) answered_.notify_one();
      return true;
    }
    if (message.entries.empty()) return true;
    if (answers_.empty()) lane_.at_turn_end([this] { flush(); });
    answers_.push_back({.type = raft::MessageType::kAppResp,
                        .to = message.from,
                        .from = id_,
                        .term = 1,
                        .index = message.entries.back().index});
    return true;
  }
  void flush() { CHECK(transport_.send(std::exchange(answers_, {}))); }
  base::Result<std::unique_ptr<peer::SnapshotSink>> open_snapshot(const raft::Message&) override {
    return base::fail(base::make_error(std::errc::not_supported, "snapshot"));
  }
  void on_unreachable(raft::NodeId) override {}
  void on_snapshot_sent(raft::NodeId, peer::SnapshotOutcome) override {}
  void on_member_removed(raft::NodeId) override {}

  const raft::NodeId id_;
  env::Lane& lane_;
  std::unique_ptr<peer::Connector> connector_;
  peer::Transport transport_;
  http::Server server_;
  std::unique_ptr<env::Listener> listener_;
  const base::SharedBytes data_{std::string(1024, 'd')};
  std::vector<raft::Message> answers_;
  std::mutex mutex_;
  std::condition_variable answered_;
  int missing_ = 0;
};

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void append_and_answer(benchmark::State& state) {
  CHECK(env::open_log({.outputs = {"/dev/null"}}).ok());
  env::posix::Runtime runtime({{"a", "a"}, {"b", "b"}});
  Member a(runtime, "a", 1), b(runtime, "b", 2);
  a.know(b);
  b.know(a);
  runtime.start();
  while (!a.connected() || !b.connected()) {
    timespec moment{.tv_sec = 0, .tv_nsec = 10'000'000};
    nanosleep(&moment, nullptr);
  }
  timespec moment{.tv_sec = 0, .tv_nsec = 300'000'000};  // until all four streams are open
  nanosleep(&moment, nullptr);
  const int batch = static_cast<int>(state.range(0));
  raft::Index next = 1;
  const double before = cpu_seconds();
  for (auto _ : state) {
    a.append(2, next, batch);
    next += static_cast<raft::Index>(batch);
  }
  const double messages = static_cast<double>(state.iterations()) * batch;
  state.counters["cpu_us"] = (cpu_seconds() - before) * 1e6 / messages;
  state.SetItemsProcessed(static_cast<std::int64_t>(messages));
  runtime.stop();
}
BENCHMARK(append_and_answer)->Arg(1)->Arg(10)->Arg(100)->UseRealTime()->MinTime(1.0);

}  // namespace
}  // namespace keelson

BENCHMARK_MAIN();
