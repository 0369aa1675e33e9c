// The segment store on this machine's disk: append, look-up, reads in runs, collection, start.
// Figures to compare are in the design of the store (records of about 350 B, keys of 50 B, page
// cache warm).
//
//   store_bench [--benchmark_filter=...]        files go to $TMPDIR or /tmp

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/random.h"
#include "base/varint.h"
#include "env/posix/files.h"
#include "store/segment.h"
#include "store/store.h"

namespace keelson::store {
namespace {

using base::Revision;

std::string encoded(std::string_view key, std::int64_t create, std::int64_t mod,
                    std::int64_t version, std::string_view value) {
  std::string out;
  base::put_bytes_field(out, 1, key);
  base::put_varint_field(out, 2, static_cast<std::uint64_t>(create));
  base::put_varint_field(out, 3, static_cast<std::uint64_t>(mod));
  base::put_varint_field(out, 4, static_cast<std::uint64_t>(version));
  base::put_bytes_field(out, 5, value);
  return out;
}

std::string key_of(std::uint64_t n) {
  return fmt::format("/registry/configmaps/namespace-{:04}/object-{:012}", n % 1000, n);
}

// A directory that goes with its owner.
struct Scratch {
  Scratch()
      : path(fmt::format("{}/store_bench.{}", std::filesystem::temp_directory_path().string(),
                         ::getpid())) {
    std::filesystem::remove_all(path);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  const std::string path;
};

struct Bench {
  explicit Bench(std::string value_of_all = std::string(270, 'v'))
      : files(std::make_unique<env::posix::Files>()), value(std::move(value_of_all)) {
    open();
  }

  void open() {
    store.reset();
    auto opened = Store::open(*files, scratch.path, {.store_id = 1});
    CHECK_MSG(opened.ok(), "{}", opened.ok() ? "" : opened.error().message());
    store = std::move(opened->store);
    loaded = 0;
    CHECK(store->load(
        [this](std::string_view, std::span<const LiveRevision> live) { loaded += live.size(); }));
  }
  void put(std::uint64_t key) {
    revision++;
    auto& history = versions[key];
    if (history.newest != 0 && history.newest != revision) dead.push_back({history.newest, 0});
    if (history.create == 0) history.create = revision;
    history.version++;
    history.newest = revision;
    batch->add({.revision = {revision, 0},
                .create_revision = history.create,
                .version = history.version,
                .encoded = base::SharedBytes(
                    encoded(key_of(key), history.create, revision, history.version, value))});
  }
  void commit() {
    batch->set_applied(++applied, 1);
    CHECK(store->append(std::exchange(batch, std::make_shared<base::Batch>())));
  }
  void checkpoint() {
    now += base::Seconds(1);
    CHECK(store->checkpoint(now, {}));
  }
  void settle() {
    while (true) {
      auto step = store->step(now, {});
      CHECK(step.ok());
      while (step->wait) step = store->waited(step->wait(), now);
      if (!step->again) return;
      now = std::max(now, *step->again);
    }
  }
  // `n` keys in random order, once each, sealed.
  void fill(std::uint64_t n) {
    std::vector<std::uint64_t> keys(n);
    for (std::uint64_t i = 0; i < n; i++) keys[i] = i;
    base::Random random(1);
    std::shuffle(keys.begin(), keys.end(), random);
    for (std::uint64_t i = 0; i < n; i++) {
      put(keys[i]);
      if (i % 200 == 199) commit();
      if (i % 20000 == 19999) checkpoint();
    }
    commit();
    checkpoint();
    settle();
  }
  void compact() {
    batch->put(base::Bucket::kMeta, std::string(base::kScheduledCompactKey),
               base::revision_key({revision, 0}));
    commit();
    store->mark_dead(std::exchange(dead, {}));
    checkpoint();
  }

  struct History {
    std::int64_t create = 0, version = 0, newest = 0;
  };
  Scratch scratch;
  std::unique_ptr<env::FileSystem> files;
  const std::string value;
  std::unique_ptr<Store> store;
  std::shared_ptr<base::Batch> batch = std::make_shared<base::Batch>();
  std::map<std::uint64_t, History> versions;
  std::vector<Revision> dead;
  std::int64_t revision = 1;
  std::uint64_t applied = 0;
  std::uint64_t loaded = 0;
  base::TimePoint now{};
};

// Argument: records a batch. Making the records is not counted.
void append(benchmark::State& state) {
  Bench bench;
  const auto n = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t key = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (std::uint64_t i = 0; i < n; i++) bench.put(key++);
    state.ResumeTiming();
    bench.commit();
    state.PauseTiming();
    if (bench.store->checkpoint_due(bench.now)) {
      bench.checkpoint();
      bench.settle();
    }
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(append)->Arg(1)->Arg(20)->Arg(200);

// Argument: records in the store.
void look_up(benchmark::State& state) {
  Bench bench;
  bench.fill(static_cast<std::uint64_t>(state.range(0)));
  const auto snapshot = bench.store->snapshot();
  const SegmentTable& table = snapshot->table();
  base::Random random(2);
  for (auto _ : state) {
    const Revision revision{
        2 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(state.range(0)))), 0};
    const std::size_t at = table.segment_of(revision);
    benchmark::DoNotOptimize(table.segments()[at]->find(revision, table.segments()[at]->records()));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(look_up)->Arg(1000000);

// Arguments: records a call, and how they are chosen: 0 in write order, 1 shuffled among
// neighbours, 2 at random.
void read_runs(benchmark::State& state) {
  constexpr std::uint64_t kRecords = 300000;
  Bench bench;
  bench.fill(kRecords);
  const auto reader = make_reader(bench.store->snapshot(), {});
  const auto run = static_cast<std::uint64_t>(state.range(0));
  base::Random random(3);
  std::vector<Revision> revisions(run);
  std::vector<base::ReadResult> results(run);
  for (auto _ : state) {
    const std::uint64_t first = random.below(kRecords - 4 * run);
    for (std::uint64_t i = 0; i < run; i++) {
      const std::uint64_t n = state.range(1) == 0   ? first + i
                              : state.range(1) == 1 ? first + random.below(4 * run)
                                                    : random.below(kRecords);
      revisions[i] = {2 + static_cast<std::int64_t>(n), 0};
    }
    reader->try_read(revisions, results);
    benchmark::DoNotOptimize(results.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(read_runs)->Args({1, 2})->Args({256, 0})->Args({256, 1})->Args({256, 2});

// Random updates, a compaction every 20,000: CPU an update, and what collection rewrote and freed.
void update_and_collect(benchmark::State& state) {
  Bench bench;
  constexpr std::uint64_t kKeys = 100000;
  bench.fill(kKeys);
  base::Random random(4);
  std::uint64_t updates = 0;
  double peak = 0;
  for (auto _ : state) {
    for (int i = 0; i < 200; i++) bench.put(random.below(kKeys));
    bench.commit();
    if (++updates % 100 == 0) {
      bench.compact();
      bench.settle();
      const Space space = bench.store->space();
      peak = std::max(
          peak, static_cast<double>(space.file_bytes) / static_cast<double>(space.live_bytes));
    }
  }
  const Stats stats = bench.store->stats();
  state.SetItemsProcessed(state.iterations() * 200);
  state.counters["rewritten/freed"] =
      static_cast<double>(stats.collected_bytes_rewritten) /
      static_cast<double>(std::max<std::uint64_t>(stats.collected_bytes_freed, 1));
  state.counters["disk/live peak"] = peak;
}
BENCHMARK(update_and_collect)->Iterations(5000)->Unit(benchmark::kMicrosecond);

// 300,000 keys of 1 KB, 600,000 updates of random ones, a compaction every 100,000 (the argument):
// what collection rewrites for each byte it frees, and how much larger the files are than what
// lives in them.
void rewritten_per_freed(benchmark::State& state) {
  Bench bench(std::string(1000 - 70, 'v'));
  constexpr std::uint64_t kKeys = 300'000, kUpdates = 600'000;
  bench.fill(kKeys);
  base::Random random(4);
  double peak = 0;
  const auto measure = [&] {
    const Space space = bench.store->space();
    peak = std::max(peak,
                    static_cast<double>(space.file_bytes) / static_cast<double>(space.live_bytes));
    return space;
  };
  for (auto _ : state) {
    for (std::uint64_t done = 0; done < kUpdates; done += 200) {
      for (int i = 0; i < 200; i++) bench.put(random.below(kKeys));
      bench.commit();
      if (done % 10'000 == 9'800) {
        bench.checkpoint();
        bench.settle();
        measure();
      }
      if ((done + 200) % static_cast<std::uint64_t>(state.range(0)) != 0) continue;
      bench.compact();
      bench.settle();
    }
  }
  const Stats stats = bench.store->stats();
  const Space space = measure();
  state.SetItemsProcessed(kUpdates);
  state.counters["rewritten/freed"] =
      static_cast<double>(stats.collected_bytes_rewritten) /
      static_cast<double>(std::max<std::uint64_t>(stats.collected_bytes_freed, 1));
  state.counters["freed MB"] = static_cast<double>(stats.collected_bytes_freed) / 1e6;
  state.counters["disk/live end"] =
      static_cast<double>(space.file_bytes) / static_cast<double>(space.live_bytes);
  state.counters["disk/live peak"] = peak;
}
BENCHMARK(rewritten_per_freed)
    ->Arg(20'000)
    ->Arg(100'000)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// Argument: keys. Opening and merging the footers, page cache warm.
void start(benchmark::State& state) {
  Bench bench;
  bench.fill(static_cast<std::uint64_t>(state.range(0)));
  for (auto _ : state) bench.open();
  CHECK_EQ(bench.loaded, static_cast<std::uint64_t>(state.range(0)));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(start)->Arg(1000000)->Unit(benchmark::kMillisecond);

// The hash over all records, joined from footers; kept sums do not help, as the choice changes.
void hash(benchmark::State& state) {
  constexpr std::uint64_t kRecords = 300000;
  Bench bench;
  bench.fill(kRecords);
  const auto reader = make_reader(bench.store->snapshot(), {});
  std::int64_t skip = 2;
  for (auto _ : state) {
    const auto hasher = reader->hasher();
    for (std::int64_t main = 2; main < 2 + static_cast<std::int64_t>(kRecords); main++) {
      if (main != skip) hasher->add({main, 0});
    }
    skip++;
    benchmark::DoNotOptimize(hasher->finish(0).ok());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kRecords));
}
BENCHMARK(hash)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace keelson::store

BENCHMARK_MAIN();
