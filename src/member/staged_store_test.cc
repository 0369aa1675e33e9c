// A db file becomes a store, and takes the place of the one before: content, refusals, and crashes
// at every step from the file to the start after it.
#include "member/staged_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "bolt/coming_file.h"
#include "bolt/writer.h"
#include "env/simulated/disk.h"
#include "mvcc/record.h"
#include "wal/snapshotter.h"

namespace keelson::member {
namespace {

using env::simulated::Disk;
using ::testing::HasSubstr;
using Keys = std::map<std::string, std::string>;
using Content = std::map<std::string, Keys>;

constexpr raft::Index kIndex = 1000;
constexpr raft::Term kTerm = 5;

std::string big_endian(std::uint64_t value) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

// A file as a leader sends it.
std::string db_file(const Content& content) {
  bolt::Layout layout;
  for (const auto& [name, keys] : content) {
    layout.begin_bucket(name.size());
    for (const auto& [key, value] : keys) layout.add(key.size(), value.size());
  }
  bolt::Writer writer(layout.finish());
  const auto add_all = [&] {
    for (const auto& [name, keys] : content) {
      writer.begin_bucket(name);
      for (const auto& [key, value] : keys) writer.add(key, value);
    }
  };
  add_all();
  CHECK(writer.end_front().ok());
  add_all();
  CHECK(writer.finish().ok());
  return writer.take();
}

// To its end; "" or why not.
std::string import_all(StoreImport& import) {
  for (;;) {
    const auto step = import.step();
    if (!step) return step.error().message();
    if (*step == StoreImport::Step::kDone) return "";
    CHECK(*step == StoreImport::Step::kMore);
  }
}

// The file coming by random pieces, now where the import has to wait, now before.
std::string import_all(StoreImport& import, bolt::ComingFile& coming, std::string_view bytes) {
  base::Random random(bytes.size());
  std::uint64_t there = 0;
  for (;;) {
    const auto step = import.step();
    if (!step) return step.error().message();
    if (*step == StoreImport::Step::kDone) return coming.is_whole() ? "" : "done too early";
    if (*step == StoreImport::Step::kMore && !random.one_in(4)) continue;
    if (there == bytes.size()) {
      coming.end();
      continue;
    }
    const auto some = bytes.substr(there, 1 + random.below(20'000));
    if (!coming.come(base::SharedBytes::copy_of(some)).ok()) return "off";
    there += some.size();
  }
}

void put(Content& content, const std::string& key, std::int64_t revision, std::size_t value_bytes) {
  const std::string value(value_bytes, 'v');
  const auto encoded = mvcc::encode({.key = key,
                                     .create_revision = revision,
                                     .mod_revision = revision,
                                     .version = 1,
                                     .value = value,
                                     .lease = 0});
  content["key"][base::revision_key({revision, 0})] = std::string(encoded.view());
}

Config config() {
  Config config;
  config.name = "n1";
  config.data_dir = "/data";
  config.advertise_peer_urls = *membership::parse_url_list("http://n1:2380");
  config.initial_cluster = *membership::parse_initial_cluster("n1=http://n1:2380");
  config.store.reserve = false;
  config.wal_segment_bytes = 64 * 1024;
  config.store.segment_bytes = 4096;
  config.store.store_id = 9;
  return config;
}

class StagedStoreTest : public ::testing::Test {
 protected:
  StagedStoreTest() {
    content_["meta"]["consistent_index"] = big_endian(kIndex);
    content_["meta"]["term"] = big_endian(kTerm);
    content_["cluster"]["clusterVersion"] = "3.7.0";
    for (const char* name : {"alarm", "auth", "authRoles", "authUsers", "key", "lease", "members",
                             "members_removed"}) {
      content_[name];
    }
    base::Random random(4);
    for (int i = 2; i < 200; i++) {
      put(content_, "k" + std::to_string(random.below(60)), i, random.below(300));
    }
    set_deleted("k7", 200);
  }
  void set_deleted(const std::string& key, std::int64_t revision) {
    const auto encoded = mvcc::encode({.key = key});
    content_["key"][base::revision_key({revision, 0}, true)] = std::string(encoded.view());
  }

  // Stages the content; "" or why not.
  static std::string stage(Disk& disk, const Content& content) {
    const Paths paths = Paths::of(config());
    const std::string path = env::join_path(paths.snap, "file");
    if (!disk.make_directories(paths.snap).ok()) return "off";
    const std::string bytes = db_file(content);
    if (!env::write_file(disk, path, bytes)) return "off";
    auto import = StoreImport::begin(disk, paths, path, kIndex, config().store);
    if (!import) return import.error().message();
    const std::string why = import_all(**import);
    const std::string coming_path = env::join_path(paths.snap, "tmp-file");
    bolt::ComingFile coming(disk.open(coming_path, env::OpenMode::kCreate).value());
    import = StoreImport::begin(disk, paths, coming, kIndex, config().store);
    if (!import) return import.error().message();
    const std::string as_it_comes = import_all(**import, coming, bytes);
    // But for the name of the file, both say the same.
    EXPECT_EQ(why.substr(why.find(':') + 1), as_it_comes.substr(as_it_comes.find(':') + 1));
    return why;
  }

  Content content_;
  Disk disk_{1};
};

TEST_F(StagedStoreTest, HasWhatTheFileHas) {
  content_["lease"]["12345678"] = "a lease";
  ASSERT_EQ(stage(disk_, content_), "");
  const Paths paths = Paths::of(config());
  EXPECT_EQ(disk_.list(paths.member).value(),
            (std::vector<std::string>{"snap", "store.00000000000003e8"}));
  auto opened = store::Store::open(disk_, staged_path(paths, kIndex), config().store).value();
  EXPECT_EQ(opened.recovered.applied_index, kIndex);
  EXPECT_EQ(opened.recovered.applied_term, kTerm);
  EXPECT_EQ(opened.recovered.newest, (base::Revision{200, 0}));
  EXPECT_EQ(opened.store->snapshot()->tail_records(), 0u) << "all has footers, so none is read";
  std::size_t live = 0;
  ASSERT_TRUE(opened.store
                  ->load([&](std::string_view, std::span<const store::LiveRevision> revisions) {
                    live += revisions.size();
                  })
                  .ok());
  EXPECT_EQ(live, content_["key"].size());
  const auto reader = store::make_reader(opened.store->snapshot(), {});
  for (const auto& [key, value] : content_["key"]) {
    std::int64_t main = 0;
    for (int i = 0; i < 8; i++) main = main << 8 | static_cast<unsigned char>(key[i]);
    const base::Revision revision{main, 0};
    base::ReadResult read;
    reader->read({&revision, 1}, {&read, 1});
    EXPECT_EQ(read.bytes.view(), value) << main;
  }
  EXPECT_EQ(*opened.store->buckets().find(base::Bucket::kLease, "12345678"), "a lease");
  EXPECT_EQ(*opened.store->buckets().find(base::Bucket::kCluster, "clusterVersion"), "3.7.0");
  EXPECT_EQ(opened.store->buckets().find(base::Bucket::kMeta, "consistent_index"), nullptr);
}

// A thread that wakes on the core of an import waits for the end of what it does at once.
TEST_F(StagedStoreTest, NoStepIsLong) {
  for (int i = 1000; i < 9000; i++) put(content_, "k" + std::to_string(i), i, 1000);
  const Paths paths = Paths::of(config());
  const std::string path = env::join_path(paths.snap, "file");
  ASSERT_TRUE(disk_.make_directories(paths.snap).ok());
  ASSERT_TRUE(env::write_file(disk_, path, db_file(content_)).ok());
  store::Options options = config().store;
  options.segment_bytes = std::uint64_t{3} << 20;
  auto import = StoreImport::begin(disk_, paths, path, kIndex, options).value();
  std::uint64_t moved = 0, most = 0;
  disk_.on_operation([&](const Disk::Step& step) {
    moved += step.bytes;
    return 0;
  });
  for (auto step = StoreImport::Step::kMore; step != StoreImport::Step::kDone;) {
    moved = 0;
    step = import->step().value();
    most = std::max(most, moved);
  }
  // A chunk of a footer is the most; to seal a segment at once is some megabytes.
  EXPECT_LE(most, options.push_out_bytes + 64 * 1024);
}

// What etcdutl's --bump-revision leaves.
TEST_F(StagedStoreTest, TakesARecordThatOnlyLiftsTheRevision) {
  content_["key"][base::revision_key({1'000'000, 0})] = "";
  ASSERT_EQ(stage(disk_, content_), "");
  const Paths paths = Paths::of(config());
  auto opened = store::Store::open(disk_, staged_path(paths, kIndex), config().store).value();
  EXPECT_EQ(opened.recovered.newest.main, 1'000'000);
}

TEST_F(StagedStoreTest, RefusesWhatIsNoStateOfThatIndex) {
  const struct {
    const char* why;
    void (*change)(Content&);
    const char* text;
  } rows[] = {
      {"another index", [](Content& c) { c["meta"]["consistent_index"] = big_endian(7); },
       "expected consistent_index 1000, found 7"},
      {"no index", [](Content& c) { c["meta"].erase("consistent_index"); },
       "expected consistent_index 1000, found none"},
      {"an index that is no number", [](Content& c) { c["meta"]["consistent_index"] = "7"; },
       "expected consistent_index 1000, found none"},
      {"no keys at all", [](Content& c) { c.erase("key"); }, "expected a bucket `key`"},
      {"a key that is no revision", [](Content& c) { c["key"]["x"] = ""; },
       "expected records of ascending revisions"},
      {"a record that is no KeyValue", [](Content& c) { c["key"].rbegin()->second = "\xff"; },
       "expected records of ascending revisions"},
      {"a record of another revision",
       [](Content& c) {
         c["key"].begin()->second = c["key"].find(base::revision_key({9, 0}))->second;
       },
       "expected records of ascending revisions"},
      {"a put and a tombstone at one revision",
       [](Content& c) { c["key"][base::revision_key({150, 0}, true)] = c["key"].rbegin()->second; },
       "expected records of ascending revisions"},
  };
  for (const auto& row : rows) {
    Content content = content_;
    row.change(content);
    Disk disk(1);
    EXPECT_THAT(stage(disk, content), HasSubstr(row.text)) << row.why;
    EXPECT_FALSE(disk.status(staged_path(Paths::of(config()), kIndex)).value()) << row.why;
  }
}

// ---- from the file to the start after it ----

struct Marks {
  bool recorded = false;  // the WAL's snapshot record is durable
  bool installed = false;
};

std::uint64_t member_id() {
  Disk disk(1);
  return member::boot(disk, config(), {}, 42)->identity.member_id;
}

// What a follower does with a db file, from its directory's first start on. False once the disk is
// off. `by_file`: it dies before the file is staged, and left that to the start.
// How the data gets to where a start finds it.
enum class Way { kFile, kFileThenStage, kStageAsItComes };

// What a DbSink does with it.
bool stage_as_it_comes(Disk& disk, const Paths& paths, const std::string& bytes) {
  const std::string path = env::join_path(paths.snap, fmt::format("tmp-{:016x}.db", kIndex));
  auto file = disk.open(path, env::OpenMode::kCreate);
  if (!file) return false;
  bolt::ComingFile coming(*std::move(file));
  auto import = StoreImport::begin(disk, paths, coming, kIndex, config().store);
  if (!import || import_all(**import, coming, bytes) != "") return false;
  return disk.remove(path).ok();
}

bool stage_whole(Disk& disk, const Paths& paths, const std::string& path) {
  auto import = StoreImport::begin(disk, paths, path, kIndex, config().store);
  return import && import_all(**import) == "" && disk.remove(path).ok();
}

bool receive(Disk& disk, const Content& content, Way way, Marks& marks) {
  const Paths paths = Paths::of(config());
  {
    auto booted = member::boot(disk, config(), {}, 42);
    if (!booted) return false;
    wal::Snapshotter snapshotter(disk, paths.snap);
    const std::string path = snapshotter.database_path(kIndex);
    const std::string bytes = db_file(content);
    if (way == Way::kStageAsItComes) {
      if (!stage_as_it_comes(disk, paths, bytes)) return false;
    } else {
      if (!env::write_file(disk, path, bytes).ok()) return false;
      if (!disk.sync_directory(paths.snap).ok()) return false;
      if (way == Way::kFileThenStage && !stage_whole(disk, paths, path)) return false;
    }
    booted->wal->append({.term = kTerm, .vote = 0, .commit = kIndex}, {});
    booted->wal->save_snapshot({.conf_state = {.voters = {booted->identity.member_id},
                                               .learners = {},
                                               .voters_outgoing = {},
                                               .learners_next = {}},
                                .index = kIndex,
                                .term = kTerm});
    if (!booted->wal->flush_and_sync().ok()) return false;
    marks.recorded = true;
  }
  if (way != Way::kFile && !install_staged(disk, paths, kIndex).ok()) return false;
  marks.installed = true;
  return true;
}

class StagedStoreCrash : public StagedStoreTest, public ::testing::WithParamInterface<Way> {
 protected:
  StagedStoreCrash() {
    const std::uint64_t id = member_id();
    content_["members"][fmt::format("{:x}", id)] =
        fmt::format(R"({{"id":{},"peerURLs":["http://n1:2380"],"name":"n1"}})", id);
    content_["meta"]["confState"] = fmt::format(R"({{"voters":[{}],"auto_leave":false}})", id);
  }
};

TEST_P(StagedStoreCrash, AtEachStepLeavesTheOldStateOrTheNew) {
  Disk whole(1);
  Marks marks;
  ASSERT_TRUE(receive(whole, content_, GetParam(), marks));
  ASSERT_GT(whole.changes(), 40u);
  Disk started(1);
  ASSERT_TRUE(member::boot(started, config(), {}, 42).ok());
  for (std::uint64_t at = started.changes() + 1; at <= whole.changes(); at++) {
    for (const auto mode :
         {Disk::Crash::kLoseUnsynced, Disk::Crash::kRandom, Disk::Crash::kKeepAll}) {
      Disk disk(at);
      disk.cut_at(at, mode);
      marks = {};
      EXPECT_FALSE(receive(disk, content_, GetParam(), marks));
      disk.power_on();
      // A start may die too.
      const std::uint64_t again_at = disk.changes() + at % 23;
      disk.cut_at(again_at, mode);
      if (!member::boot(disk, config(), {}, 43)) disk.power_on();
      disk.cut_at(0, mode);
      auto booted = member::boot(disk, config(), {}, 44);
      ASSERT_TRUE(booted.ok()) << "step " << at << ": " << booted.error().text;
      const bool is_new = booted->applied_index == kIndex;
      if (!is_new) EXPECT_EQ(booted->applied_index, 0u) << "step " << at;
      EXPECT_TRUE(is_new || !marks.recorded) << "step " << at;
      if (is_new) {
        EXPECT_EQ(booted->snapshot.index, kIndex);
        EXPECT_EQ(booted->state->publish_keys().revision, 200);
      }
      for (const std::string& name : disk.list("/data/member").value()) {
        EXPECT_FALSE(name.starts_with("store.")) << name << " after step " << at;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, StagedStoreCrash,
                         ::testing::Values(Way::kFile, Way::kFileThenStage, Way::kStageAsItComes));

TEST_F(StagedStoreTest, AStartWithNeitherStageNorFileIsRefused) {
  Marks marks;
  ASSERT_TRUE(receive(disk_, content_, Way::kFile, marks));
  wal::Snapshotter snapshotter(disk_, Paths::of(config()).snap);
  ASSERT_TRUE(disk_.remove(snapshotter.database_path(kIndex)).ok());
  const auto booted = member::boot(disk_, config(), {}, 42);
  ASSERT_FALSE(booted.ok());
  EXPECT_EQ(booted.error().text,
            "the write-ahead log /data/member/wal ends with snapshot 1000, the store "
            "/data/member/store at entry 0, and neither /data/member/store.00000000000003e8 nor "
            "/data/member/snap/00000000000003e8.snap.db is there: the data of that snapshot is "
            "missing");
}

TEST_F(StagedStoreTest, AFileThatCannotBeTakenIsNamed) {
  Marks marks;
  content_["key"]["x"] = "";
  ASSERT_TRUE(receive(disk_, content_, Way::kFile, marks));
  const auto booted = member::boot(disk_, config(), {}, 42);
  ASSERT_FALSE(booted.ok());
  EXPECT_THAT(booted.error().text, HasSubstr("/data/member/snap/00000000000003e8.snap.db: expected "
                                             "records of ascending revisions"));
}

}  // namespace
}  // namespace keelson::member
