// The key index: memory per key and revision, CPU per look-up, update, scan, load and compaction.
//
//   build/release/bin/key_index_bench
//
// Keys of 64 B in two shapes: 0 = a common part of 36 B and 28 random ones, 1 = all random. Memory
// is what the process holds (resident, not from files), so it has the allocator's share; `index` is
// the index's own count. Each benchmark builds what it needs, so that one can be run alone with
// --benchmark_filter.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/random.h"
#include "mvcc/key_index.h"

namespace keelson::mvcc {
namespace {

std::string make_key(base::Random& random, int shape) {
  constexpr std::string_view kCommon = "/registry/configmaps/kube-system/obj";
  static_assert(kCommon.size() == 36);
  std::string key(shape == 0 ? kCommon : std::string_view());
  while (key.size() < 64) key.push_back("0123456789abcdefghijklmnopqrstuv"[random.below(32)]);
  return key;
}

std::vector<std::string> make_keys(std::size_t count, int shape) {
  base::Random random(17);
  std::vector<std::string> keys;
  keys.reserve(count);
  for (std::size_t i = 0; i < count; i++) keys.push_back(make_key(random, shape));
  return keys;
}

// Keys one after the other in memory, so that misses on them are not measured.
class PackedKeys {
 public:
  template <class Keys>
  explicit PackedKeys(const Keys& keys) {
    for (const auto& key : keys) text_.append(key);
    CHECK_EQ(text_.size(), keys.size() * 64);
  }
  static PackedKeys random(const std::vector<std::string>& keys, std::uint64_t seed) {
    base::Random random(seed);
    std::vector<std::string_view> chosen;
    for (int i = 0; i < 1 << 18; i++) chosen.push_back(keys[random.below(keys.size())]);
    return PackedKeys(chosen);
  }
  std::string_view operator[](std::size_t i) const {
    return std::string_view(text_).substr(i % size() * 64, 64);
  }
  std::size_t size() const { return text_.size() / 64; }

 private:
  std::string text_;
};

// Bytes resident that no file backs.
double anonymous_bytes() {
  malloc_trim(0);
  long pages = 0, resident = 0, shared = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  CHECK(file != nullptr);
  CHECK_EQ(std::fscanf(file, "%ld %ld %ld", &pages, &resident, &shared), 3);
  std::fclose(file);
  return static_cast<double>(resident - shared) * 4096;
}

// Writes as apply/ does: batches, each published, the root before it released.
class Writer {
 public:
  void put(std::string_view key) {
    revision_++;
    const auto newest = index.current().get(key, revision_);
    index.put(key, {.mod = {revision_, 0},
                    .create_revision = newest ? newest->create_revision : revision_,
                    .version = newest ? newest->version + 1 : 1,
                    .bytes = 500});
  }
  void publish() {
    const std::uint64_t batch = index.publish().batch();
    if (held_ != 0) index.release(held_);
    held_ = batch;
  }
  void load(std::vector<std::string> keys) {
    std::sort(keys.begin(), keys.end());
    for (const std::string& key : keys) {
      revision_++;
      const Version v{
          .mod = {revision_, 0}, .create_revision = revision_, .version = 1, .bytes = 500};
      index.load(key, std::span(&v, 1));
    }
    index.finish_load();
    publish();
  }
  void compact(std::int64_t floor) {
    KeyIndex::CompactSlice slice;
    do {
      slice = index.compact(floor, slice.next, 1000);
      benchmark::DoNotOptimize(slice.dropped.data());
      publish();
    } while (!slice.done);
  }
  std::int64_t revision() const { return revision_; }

  KeyIndex index;

 private:
  std::int64_t revision_ = 1;
  std::uint64_t held_ = 0;
};

constexpr std::size_t kMillion = 1'000'000;

void load(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  auto keys = make_keys(count, static_cast<int>(state.range(1)));
  std::sort(keys.begin(), keys.end());
  const PackedKeys sorted(keys);
  for (auto _ : state) {
    state.PauseTiming();
    const double before = anonymous_bytes();
    KeyIndex index;
    const Version v{.mod = {2, 0}, .create_revision = 2, .version = 1, .bytes = 500};
    state.ResumeTiming();
    for (std::size_t i = 0; i < sorted.size(); i++) index.load(sorted[i], std::span(&v, 1));
    index.finish_load();
    state.PauseTiming();
    state.counters["bytes_per_key"] = (anonymous_bytes() - before) / static_cast<double>(count);
    state.counters["index"] = static_cast<double>(index.stats().bytes) / static_cast<double>(count);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(load)
    ->Args({kMillion, 0})
    ->Args({kMillion, 1})
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

// A million keys written in random order, then `further` more revisions of each, in random order.
void memory(benchmark::State& state) {
  const auto keys = make_keys(kMillion, static_cast<int>(state.range(0)));
  const auto further = static_cast<std::size_t>(state.range(1));
  for (auto _ : state) {
    const double before = anonymous_bytes();
    Writer writer;
    base::Random random(5);
    for (std::size_t i = 0; i < keys.size(); i++) {
      writer.put(keys[i]);
      if (i % 100 == 0) writer.publish();
    }
    writer.publish();
    const double fresh = anonymous_bytes();
    for (std::size_t i = 0; i < keys.size() * further; i++) {
      writer.put(keys[random.below(keys.size())]);
      if (i % 100 == 0) writer.publish();
    }
    for (int i = 0; i < 1000; i++) writer.publish();
    const double after = anonymous_bytes();
    state.counters["bytes_per_key"] = (fresh - before) / kMillion;
    if (further > 0) {
      state.counters["per_further"] = (after - fresh) / (kMillion * static_cast<double>(further));
    }
    state.counters["index"] = static_cast<double>(writer.index.stats().bytes) / kMillion;
    if (further == 0) continue;
    writer.compact(writer.revision());
    for (int i = 0; i < 10'000; i++) writer.publish();
    state.counters["compacted"] = (anonymous_bytes() - before) / kMillion;
    state.counters["compacted_index"] = static_cast<double>(writer.index.stats().bytes) / kMillion;
  }
}
BENCHMARK(memory)->ArgsProduct({{0, 1}, {0, 1, 4}})->Unit(benchmark::kMillisecond)->Iterations(1);

void get(benchmark::State& state) {
  const auto keys = make_keys(kMillion, static_cast<int>(state.range(0)));
  Writer writer;
  for (std::size_t i = 0; i < keys.size(); i++) {
    writer.put(keys[i]);
    if (i % 100 == 0) writer.publish();
  }
  writer.publish();
  const PackedKeys wanted = PackedKeys::random(keys, 9);
  const KeyIndexView view = writer.index.current();
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(view.get(wanted[i++], writer.revision()));
  }
}
BENCHMARK(get)->Arg(0)->Arg(1);

// Random keys among a million, history kept, `range(1)` a batch. put() of the writer looks up the
// key first.
void update(benchmark::State& state) {
  const auto keys = make_keys(kMillion, static_cast<int>(state.range(0)));
  Writer writer;
  writer.load(keys);
  const PackedKeys wanted = PackedKeys::random(keys, 11);
  std::size_t i = 0;
  std::int64_t in_batch = 0;
  std::int64_t revision = static_cast<std::int64_t>(kMillion) + 10;
  for (auto _ : state) {
    revision++;
    writer.index.put(wanted[i++],
                     {.mod = {revision, 0}, .create_revision = 2, .version = 7, .bytes = 500});
    if (++in_batch < state.range(1)) continue;
    writer.publish();
    in_batch = 0;
  }
}
BENCHMARK(update)->ArgsProduct({{0, 1}, {1, 10, 100}});

void insert(benchmark::State& state) {
  base::Random random(23);
  Writer writer;
  writer.load(make_keys(kMillion, 0));
  std::int64_t in_batch = 0, revision = static_cast<std::int64_t>(kMillion) + 10;
  for (auto _ : state) {
    revision++;
    writer.index.put(
        make_key(random, 0),
        {.mod = {revision, 0}, .create_revision = revision, .version = 1, .bytes = 500});
    if (++in_batch < 10) continue;
    writer.publish();
    in_batch = 0;
  }
}
BENCHMARK(insert);

void hot_key(benchmark::State& state) {
  Writer writer;
  const auto keys = make_keys(kMillion, 0);
  writer.load(keys);
  for (auto _ : state) {
    writer.put(keys[123]);
    writer.publish();
  }
}
BENCHMARK(hot_key);

void scan(benchmark::State& state) {
  Writer writer;
  {
    const auto keys = make_keys(kMillion, 0);
    for (std::size_t i = 0; i < keys.size(); i++) {
      writer.put(keys[i]);
      if (i % 100 == 0) writer.publish();
    }
  }
  const bool with_keys = state.range(0) != 0;
  const KeyIndexView view = writer.index.current();
  for (auto _ : state) {
    std::uint64_t bytes = 0;
    for (auto cursor = view.seek(""); cursor.valid(); cursor.next()) {
      const auto v = cursor.get(writer.revision());
      if (v) bytes += v->bytes;
      if (with_keys) bytes += cursor.key().size();
    }
    benchmark::DoNotOptimize(bytes);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMillion));
}
BENCHMARK(scan)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

// range(0) revisions more than keys, then one compaction at the newest.
void compact(benchmark::State& state) {
  const auto keys = make_keys(kMillion, 0);
  for (auto _ : state) {
    state.PauseTiming();
    Writer writer;
    writer.load(keys);
    base::Random random(31);
    for (std::int64_t i = 0; i < state.range(0); i++) {
      writer.put(keys[random.below(keys.size())]);
      if (i % 100 == 0) writer.publish();
    }
    writer.publish();
    state.ResumeTiming();
    writer.compact(writer.revision());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kMillion));
}
BENCHMARK(compact)
    ->Arg(0)
    ->Arg(100'000)
    ->Arg(kMillion)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);

}  // namespace
}  // namespace keelson::mvcc

BENCHMARK_MAIN();
