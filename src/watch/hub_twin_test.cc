// Hub against a model on random histories: whatever goes wrong on the way, each watcher is told of
// exactly its events, in order; or of its end by compaction, after an unbroken beginning of them.
#include <gtest/gtest.h>

#include "watch/world_test.h"

namespace keelson::watch {
namespace {

constexpr std::size_t kFragmentBytes = 400;
constexpr std::size_t kOverheadBytes = 20;

// What the model expects one watcher to be told, and how far it has been.
struct Expected {
  CreateRequest request;
  std::int64_t from = 0;  // the first revision it may see
  std::int64_t last_told = 0;
  std::size_t at = 0;  // changes of the model it has been told of or does not want
  bool open_fragment = false;
  bool ended = false;

  bool wants(const Change& change) const {
    const std::string key = request.key.empty() ? std::string(1, '\0') : request.key;
    return change.revision >= from && !(change.deleted ? request.no_delete : request.no_put) &&
           mvcc::KeyRange::of(key, request.range_end).contains(change.kv.key());
  }
  // Moves over what it does not want.
  const Change* next(const Model& model) {
    while (at < model.changes.size() && !wants(model.changes[at])) at++;
    return at < model.changes.size() ? &model.changes[at] : nullptr;
  }
};

// A stream that checks all it is told against the model.
class CheckedStream final : public Outlet {
 public:
  CheckedStream(World& world, base::Random& random) : world_(world), random_(random) {}

  void deliver(const Response& response) override {
    delivered++;
    using Kind = Response::Kind;
    switch (response.kind) {
      case Kind::kCreated:
        last_created = response.id;
        break;
      case Kind::kRefused:
        EXPECT_EQ(response.id, kNoWatchId);
        break;
      case Kind::kCanceled:
        EXPECT_EQ(watchers.erase(response.id), 1u);
        break;
      case Kind::kEvents:
        EXPECT_TRUE(!full || watchers.at(response.id).open_fragment);
        on_events(watchers.at(response.id), response);
        break;
      case Kind::kProgress:
        on_progress(response);
        break;
      case Kind::kCompacted:
        on_compacted(watchers.at(response.id), response);
        break;
      case Kind::kFailed:
        ADD_FAILURE() << "no record is unreadable here";
    }
    if (random_.one_in(20)) full = true;
  }
  bool is_full() const override { return full; }
  bool has_room() const override { return !full; }
  std::size_t overhead_bytes(WatchId, std::int64_t) const override { return kOverheadBytes; }

  bool full = false;
  std::size_t delivered = 0;
  WatchId last_created = kNoWatchId;
  std::map<WatchId, Expected> watchers;
  Hub::Stream* stream = nullptr;

 private:
  void on_events(Expected& watcher, const Response& response) {
    etcdserverpb::WatchResponse told;
    const std::string events = std::string(response.events_head).append(response.events.view());
    ASSERT_TRUE(told.ParseFromString(events));
    ASSERT_GT(told.events_size(), 0);
    ASSERT_FALSE(watcher.ended);
    if (response.fragment || watcher.open_fragment) ASSERT_TRUE(watcher.request.fragment);
    const std::size_t bytes = kOverheadBytes + events.size();
    if (watcher.request.fragment && told.events_size() > 1) ASSERT_LT(bytes, kFragmentBytes);
    std::set<std::int64_t> revisions;
    for (const auto& event : told.events()) {
      on_event(watcher, event);
      revisions.insert(event.kv().mod_revision());
      ASSERT_LE(event.kv().mod_revision(), response.revision);
    }
    ASSERT_LE(revisions.size(), world_.hub.slice_limits().revisions);
    watcher.open_fragment = response.fragment;
    // The whole of a revision, but for fragments.
    const Change* next = watcher.next(world_.model);
    const bool torn = next != nullptr && next->revision == *revisions.rbegin();
    ASSERT_TRUE(!torn || response.fragment);
  }

  void on_event(Expected& watcher, const mvccpb::Event& event) {
    const Change* change = watcher.next(world_.model);
    ASSERT_NE(change, nullptr) << event.ShortDebugString();
    ASSERT_EQ(event.type() == mvccpb::Event::DELETE, change->deleted);
    ASSERT_EQ(event.kv().SerializeAsString(), change->kv.SerializeAsString())
        << event.ShortDebugString() << " instead of " << change->kv.ShortDebugString();
    watcher.at++;
    watcher.last_told = change->revision;
    const bool wants_previous = watcher.request.prev_kv && !change->previous.key().empty();
    if (event.has_prev_kv()) {
      ASSERT_TRUE(wants_previous);
      ASSERT_EQ(event.prev_kv().SerializeAsString(), change->previous.SerializeAsString());
    } else if (wants_previous) {
      ASSERT_LT(change->revision - 1, world_.published.compact_revision);  // then it may be gone
    }
  }

  void on_progress(const Response& response) {
    ASSERT_FALSE(full);
    ASSERT_EQ(response.revision, world_.hub.revision());
    for (auto& [id, watcher] : watchers) {
      if (response.id != kNoWatchId && response.id != id) continue;
      ASSERT_FALSE(watcher.ended);
      ASSERT_LE(watcher.request.start_revision, response.revision);
      ASSERT_LE(watcher.from, response.revision + 1);
      const Change* next = watcher.next(world_.model);
      if (next != nullptr) ASSERT_GT(next->revision, response.revision) << "progress lies";
      if (response.id == id) ASSERT_TRUE(watcher.request.progress_notify);
    }
  }

  void on_compacted(Expected& watcher, const Response& response) {
    ASSERT_FALSE(watcher.ended);
    ASSERT_FALSE(watcher.open_fragment);
    ASSERT_EQ(response.revision, 0);
    ASSERT_EQ(response.compact_revision, world_.published.compact_revision);
    watcher.ended = true;
    // What it needs next may be gone: all it was told of lies below the floor.
    ASSERT_LT(watcher.last_told, response.compact_revision);
    ASSERT_LT(watcher.from, response.compact_revision);
  }

  World& world_;
  base::Random& random_;
};

class Twin {
 public:
  explicit Twin(std::uint64_t seed, bool many_keys = false)
      : many_keys_(many_keys), random_(seed), world_(options(random_)) {}
  ~Twin() {
    for (auto& stream : streams_) world_.hub.close(*stream->stream);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFatalFailure(); i++) {
      step();
      world_.hub.check();
    }
    finish();
  }

 private:
  static Hub::Options options(base::Random& random) {
    Hub::Options options;
    options.fragment_bytes = kFragmentBytes;
    options.batches_max = 20;
    options.kept_batches_max = random.one_in(2) ? 2 : 100;
    options.round_watchers = random.one_in(2) ? 2 : 100;
    options.slice = {.revisions = 1 + random.below(8),
                     .bytes = 1 + random.below(300),
                     .records = 1 + random.below(30),
                     .keys = random.below(12)};
    return options;
  }

  std::string key() {
    if (many_keys_) return fmt::format("k{:03}", random_.below(400));
    static const std::vector<std::string> kKeys = {"a", "b", "ba", "bb", "c", "d", "e", "f"};
    return kKeys[random_.below(kKeys.size())];
  }
  std::string end() {
    switch (random_.below(4)) {
      case 0:
        return std::string(1, '\0');
      case 1:
        return key();
      default:
        return "";
    }
  }
  std::string value() { return std::string(1 + random_.below(60), 'v'); }

  void step() {
    switch (random_.below(16)) {
      case 0:
      case 1:
      case 2:
        return write();
      case 3:
      case 4:
        return world_.hand_over(random_.below(4), 1 + random_.below(20));
      case 5:
        return world_.work(1 + random_.below(20));
      case 6:
        return create();
      case 7:
        return cancel();
      case 8:
      case 9:
        MAYBE(world_.begin_round());
        return;
      case 10:
      case 11:
        if (world_.hub.round_under_way()) world_.end_round();
        return;
      case 12:
        return drain();
      case 13:
        return ask_progress();
      case 14:
        if (random_.one_in(10)) world_.lose(random_.below(3));
        return;
      case 15:
        return open_or_close();
    }
  }

  void write() {
    if (random_.one_in(4)) world_.begin_batch();
    if (many_keys_ && random_.one_in(6)) {
      for (std::uint64_t more = random_.below(300); more > 0; more--) world_.put(key(), value());
    }
    switch (random_.below(8)) {
      case 0:
        world_.erase(key(), end());
        break;
      case 1: {
        std::map<std::string, std::string> changes;
        for (std::uint64_t i = random_.below(6); i > 0; i--) {
          changes[key()] = random_.one_in(3) ? "" : value();
        }
        world_.txn(changes);
        break;
      }
      case 2:
        if (random_.one_in(4)) {
          world_.compact(1 + static_cast<std::int64_t>(random_.below(world_.model.revision)));
        }
        break;
      default:
        world_.put(key(), value());
    }
    if (random_.one_in(2)) world_.end_batch();
  }

  CheckedStream* any_stream() {
    return streams_.empty() ? nullptr : streams_[random_.below(streams_.size())].get();
  }

  void create() {
    CheckedStream* stream = any_stream();
    if (stream == nullptr || stream->watchers.size() > (many_keys_ ? 2 : 12)) return;
    CreateRequest request{.key = random_.one_in(9) ? "" : key(),
                          .range_end = end(),
                          .id = random_.one_in(3) ? static_cast<WatchId>(random_.below(6)) : 0,
                          .prev_kv = random_.one_in(2),
                          .progress_notify = random_.one_in(2),
                          .fragment = random_.one_in(2),
                          .no_put = random_.one_in(6),
                          .no_delete = random_.one_in(6)};
    const auto revision = static_cast<std::uint64_t>(world_.published.revision);
    if (!random_.one_in(3)) {
      request.start_revision = static_cast<std::int64_t>(random_.below(revision + 5)) - 1;
    }
    const std::size_t before = stream->delivered;
    stream->last_created = kNoWatchId;
    Expected expected{.request = request};
    expected.from =
        request.start_revision == 0 ? world_.published.revision + 1 : request.start_revision;
    // The responses that follow the creation at once must find it.
    const WatchId id = expected_id(*stream, request);
    if (id != kNoWatchId) stream->watchers.emplace(id, expected);
    world_.hub.create(*stream->stream, request, world_.published);
    EXPECT_GT(stream->delivered, before);
    EXPECT_EQ(stream->last_created, id);
    if (id != kNoWatchId && request.id == 0) next_ids_[stream] = id + 1;
  }

  WatchId expected_id(const CheckedStream& stream, const CreateRequest& request) {
    const std::string key = request.key.empty() ? std::string(1, '\0') : request.key;
    const bool bounded = !request.range_end.empty() && request.range_end != std::string(1, '\0');
    if (request.start_revision < 0 || (bounded && request.range_end <= key)) return kNoWatchId;
    if (request.id != 0) return stream.watchers.contains(request.id) ? kNoWatchId : request.id;
    WatchId id = next_ids_[&stream];
    while (stream.watchers.contains(id)) id++;
    return id;
  }

  void cancel() {
    CheckedStream* stream = any_stream();
    if (stream == nullptr || !random_.one_in(3)) return;
    const auto id = static_cast<WatchId>(random_.below(12));
    const bool known = stream->watchers.contains(id);
    const std::size_t before = stream->delivered;
    world_.hub.cancel(*stream->stream, id, world_.published);
    EXPECT_EQ(stream->delivered - before, known ? 1u : 0u);
  }

  void drain() {
    CheckedStream* stream = any_stream();
    if (stream == nullptr) return;
    stream->full = false;
    if (random_.one_in(2)) {
      world_.hub.resume(*stream->stream);
    } else {
      world_.hub.resume_all();
    }
  }

  void ask_progress() {
    CheckedStream* stream = any_stream();
    if (stream == nullptr) return;
    if (random_.one_in(2)) {
      world_.hub.request_progress(*stream->stream, world_.published);
    } else {
      world_.hub.tick(*stream->stream);
    }
  }

  void open_or_close() {
    if (random_.one_in(8) && streams_.size() > 1) {
      const auto it =
          streams_.begin() + static_cast<std::ptrdiff_t>(random_.below(streams_.size()));
      world_.hub.close(*(*it)->stream);
      next_ids_.erase(it->get());
      streams_.erase(it);
    } else if (streams_.size() < 4) {
      streams_.push_back(std::make_unique<CheckedStream>(world_, random_));
      streams_.back()->stream = &world_.hub.open(*streams_.back());
    }
    world_.reader.chill(random_.below(4));
  }

  // All that is left to tell is told.
  void finish() {
    world_.end_batch();
    world_.reader.chill(0);
    for (int i = 0; i < 10'000; i++) {
      for (auto& stream : streams_) stream->full = false;
      world_.settle();
      world_.hub.check();
      if (world_.hub.stats().slow == 0) break;
    }
    EXPECT_EQ(world_.hub.stats().slow, 0u);
    EXPECT_EQ(world_.hub.revision(), world_.model.revision);
    for (auto& stream : streams_) {
      for (auto& [id, watcher] : stream->watchers) {
        if (watcher.ended) continue;
        EXPECT_EQ(watcher.next(world_.model), nullptr) << "watch id " << id << " misses events";
        EXPECT_FALSE(watcher.open_fragment);
      }
    }
  }

  const bool many_keys_;  // ... and few watchers, so that much is deleted that nobody watches
  base::Random random_;
  World world_;
  std::vector<std::unique_ptr<CheckedStream>> streams_;
  std::map<const CheckedStream*, WatchId> next_ids_;
};

class HubTwin : public testing::TestWithParam<std::uint64_t> {};

TEST_P(HubTwin, TellsWhatTheModelTells) {
  for (std::uint64_t i = 0; i < 25; i++) {
    SCOPED_TRACE(testing::Message() << "seed " << GetParam() * 1000 + i);
    Twin twin(GetParam() * 1000 + i);
    twin.run(2000);
    if (HasFailure()) return;
  }
}

TEST(HubTwinOfManyKeys, TellsWhatTheModelTells) {
  for (std::uint64_t seed = 1; seed <= 10; seed++) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Twin twin(seed, true);
    twin.run(400);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, HubTwin, testing::Range<std::uint64_t>(1, 9));

}  // namespace
}  // namespace keelson::watch
