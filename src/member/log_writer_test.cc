// LogWriter alone: the raft lane and the apply lane are played by the test.
#include "member/log_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "env/simulated/world.h"
#include "member/boot.h"
#include "member/front.h"

namespace keelson::member {
namespace {

using base::Seconds;

class LogWriterTest : public ::testing::Test {
 protected:
  LogWriterTest()
      : host_(world_.host("n1")),
        apply_(host_.lane("apply"), 1000, [this](std::vector<ApplyWork> works) {
          for (const ApplyWork& work : works) installs_.push_back(work.install);
        }) {
    config_.name = "n1";
    config_.data_dir = "/data";
    config_.advertise_peer_urls = *membership::parse_url_list("http://n1:2380");
    config_.initial_cluster = *membership::parse_initial_cluster("n1=http://n1:2380");
    config_.store.reserve = false;
    config_.wal_segment_bytes = 64 * 1024;
    shared_.config = config_;
    shared_.clock = &host_.clock();
    shared_.workers = {&host_.lane("worker0")};
    shared_.apply_lane = &host_.lane("apply");
    shared_.to_raft_events = std::make_unique<env::Channel<RaftEvent>>(
        host_.lane("raft"), 1000, [this](std::vector<RaftEvent> events) {
          for (const RaftEvent& event : events) {
            if (const auto* persisted = std::get_if<Persisted>(&event)) {
              responses_ += persisted->responses.size();
              appends_ += persisted->appends;
              persisted_at_ = host_.clock().now();
            }
            if (const auto* saved = std::get_if<SnapshotSaved>(&event)) {
              saved_.push_back(saved->snapshot.metadata.index);
            }
          }
        });
    auto booted = boot(host_.disk(), config_, {}, 1);
    EXPECT_TRUE(booted.ok());
    const Paths paths = Paths::of(config_);
    log_ = std::make_unique<LogWriter>(host_.lane("log"), shared_,
                                       LogWriter::Start{.files = &host_.disk(),
                                                        .wal = std::move(booted->wal),
                                                        .hard_state = booted->hard_state,
                                                        .wal_directory = paths.wal,
                                                        .snap_directory = paths.snap});
    log_->connect(&apply_);
  }

  static raft::Snapshot snapshot(raft::Index index) {
    return {.data = base::SharedBytes(std::string("{}")),
            .metadata = {.conf_state = {.voters = {1}, .learners = {}}, .index = index, .term = 5}};
  }
  void push(AppendWork work) {
    host_.lane("raft").post(
        [this, work = std::move(work)]() mutable { log_->inbox().push_always(std::move(work)); });
    ASSERT_TRUE(world_.run_until_idle());
  }

  // Three files more than are to be kept, and a snapshot that makes them needless.
  void fill_files() {
    const Paths paths = Paths::of(config_);
    while (wal::list_segments(host_.disk(), paths.wal)->size() < config_.wals_max + 3) {
      push({.entries = {{.term = 5, .index = ++last_, .data = base::SharedBytes(record_)}}});
    }
    push({.hard_state = {.term = 5, .vote = 0, .commit = last_}, .snapshot = snapshot(last_)});
  }

  // What a histogram has seen: how often, and seconds in all.
  struct Seen {
    std::uint64_t count = 0;
    double seconds = 0;
  };
  Seen seen(const std::string& name) const {
    for (const auto& family : shared_.metrics.registry->Collect()) {
      if (family.name != name) continue;
      const auto& histogram = family.metric.at(0).histogram;
      return {histogram.sample_count, histogram.sample_sum};
    }
    ADD_FAILURE() << name;
    return {};
  }
  double gauge(const std::string& name) const {
    for (const auto& family : shared_.metrics.registry->Collect()) {
      if (family.name == name) return family.metric.at(0).gauge.value;
    }
    return -1;
  }

  env::simulated::World world_{1};
  env::simulated::Host& host_;
  Config config_;
  Shared shared_;
  env::Channel<ApplyWork> apply_;
  std::unique_ptr<LogWriter> log_;
  std::vector<raft::Index> installs_, saved_;
  const std::string record_ = std::string(8000, 'x');
  raft::Index last_ = 0;
  std::size_t responses_ = 0;
  std::size_t appends_ = 0;
  base::TimePoint persisted_at_;
};

TEST_F(LogWriterTest, ASnapshotFromALeaderIsRecordedBeforeAnybodyHearsOfIt) {
  push({.hard_state = {.term = 5, .vote = 0, .commit = 1000},
        .snapshot = snapshot(1000),
        .entries = {{.term = 5, .index = 1001, .data = {}}},
        .responses = {raft::Message{}}});
  EXPECT_EQ(installs_, std::vector<raft::Index>{1000});
  EXPECT_EQ(responses_, 1u);
  const Paths paths = Paths::of(config_);
  log_.reset();
  host_.disk().crash(env::simulated::Disk::Crash::kLoseUnsynced);
  EXPECT_THAT(host_.disk().list(paths.snap).value(),
              ::testing::Contains("0000000000000005-00000000000003e8.snap"));
  const auto marks = wal::valid_snapshots(host_.disk(), paths.wal).value();
  EXPECT_EQ(marks.back().index, 1000u);
  auto opened = wal::Wal::open(host_.disk(), {.directory = paths.wal, .segment_bytes = 64 * 1024},
                               {.index = 1000, .term = 5});
  ASSERT_TRUE(opened.ok());
  ASSERT_EQ(opened->recovered.entries.size(), 1u);
  EXPECT_EQ(opened->recovered.entries[0].index, 1001u);
}

// Power may fail between any two frames of the write. A commit beyond the log would stop every
// start.
TEST_F(LogWriterTest, NoPrefixOfWhatASnapshotFromALeaderWritesStopsAStart) {
  const Paths paths = Paths::of(config_);
  const std::string path = env::join_path(paths.wal, "0000000000000000-0000000000000000.wal");
  const std::string before = host_.disk().contents().at(path);
  push({.hard_state = {.term = 5, .vote = 0, .commit = 1000}, .snapshot = snapshot(1000)});
  log_.reset();
  const std::string after = host_.disk().contents().at(path);
  const auto begin =
      static_cast<std::size_t>(std::ranges::mismatch(before, after).in2 - after.begin());
  const std::size_t end = after.find_last_not_of('\0') + 1;
  ASSERT_GT(end, begin + 40);
  const auto file = host_.disk().open(path, env::OpenMode::kReadWrite).value();
  std::size_t frames = 0;
  for (std::size_t cut = begin; cut < end; frames++) {
    const std::string kept = after.substr(begin, cut - begin) + std::string(end - cut, '\0');
    ASSERT_TRUE(file->write_at(begin, kept).ok());
    const auto marks = wal::valid_snapshots(host_.disk(), paths.wal);
    ASSERT_TRUE(marks.ok()) << cut << ": " << marks.error().message();
    const auto log = wal::read_log(host_.disk(), paths.wal, {});
    ASSERT_TRUE(log.ok()) << cut << ": " << log.error().message();
    const auto last = std::max(log->entries.back().index, marks->back().index);
    EXPECT_LE(log->hard_state.commit, last) << frames;
    const auto length =
        wal::decode_frame_length(wal::decode_length_field(std::string_view(after).substr(cut)));
    ASSERT_TRUE(length.has_value());
    cut += wal::kLengthBytes + length->record + length->padding;
  }
  EXPECT_GE(frames, 2u);
}

TEST_F(LogWriterTest, EachAppendIsToldOfThoughNobodyWaits) {
  push({.hard_state = {.term = 5, .vote = 1, .commit = 0}});
  EXPECT_EQ(appends_, 1u);
  push({.hard_state = {.term = 5, .vote = 1, .commit = 1000},
        .snapshot = snapshot(1000),
        .entries = {{.term = 5, .index = 1001, .data = {}}},
        .responses = {raft::Message{}}});
  EXPECT_EQ(appends_, 2u);
  EXPECT_EQ(responses_, 1u);
}

// The disk takes its time, and nothing else does.
TEST_F(LogWriterTest, WritesAndSyncsAreTimed) {
  using Operation = env::simulated::Disk::Operation;
  std::map<Operation, base::TimePoint> begun;
  host_.disk().on_operation([&](const env::simulated::Disk::Step& step) {
    if (step.path.ends_with(".wal")) begun.emplace(step.operation, host_.clock().now());
    return 0;
  });
  const auto written = gauge("etcd_disk_wal_write_bytes_total");
  push({.hard_state = {.term = 5, .vote = 0, .commit = 0},
        .entries = {{.term = 5, .index = 2, .data = base::SharedBytes(std::string(1000, 'x'))}},
        .responses = {raft::Message{}}});
  ASSERT_TRUE(begun.contains(Operation::kWrite) && begun.contains(Operation::kSync));
  const auto seconds = [](base::Duration time) {
    return std::chrono::duration<double>(time).count();
  };
  const Seen write = seen("etcd_disk_wal_write_duration_seconds");
  const Seen sync = seen("etcd_disk_wal_fsync_duration_seconds");
  EXPECT_EQ(write.count, 1u);
  EXPECT_DOUBLE_EQ(write.seconds, seconds(begun[Operation::kSync] - begun[Operation::kWrite]));
  EXPECT_EQ(sync.count, 1u);
  EXPECT_GT(sync.seconds, write.seconds) << "the write too: it goes to the disk itself";
  EXPECT_LE(sync.seconds, seconds(persisted_at_ - begun[Operation::kWrite]));
  EXPECT_GT(gauge("etcd_disk_wal_write_bytes_total"), written + 1000);

  // A commit that moves alone is not synced.
  push({.hard_state = {.term = 5, .vote = 0, .commit = 2}});
  EXPECT_EQ(seen("etcd_disk_wal_write_duration_seconds").count, 2u);
  EXPECT_EQ(seen("etcd_disk_wal_fsync_duration_seconds").count, 1u);
}

TEST_F(LogWriterTest, SavingASnapshotIsTimed) {
  const auto before = host_.clock().now();
  log_->save_snapshot({snapshot(500)});
  ASSERT_TRUE(world_.run_until_idle());
  for (const auto* name :
       {"etcd_snap_fsync_duration_seconds", "etcd_debugging_snap_save_total_duration_seconds"}) {
    const Seen saved = seen(name);
    EXPECT_EQ(saved.count, 1u) << name;
    EXPECT_GT(saved.seconds, 0) << name;
    EXPECT_LT(saved.seconds, std::chrono::duration<double>(host_.clock().now() - before).count())
        << name << ": its record in the log is not of it";
  }
  EXPECT_EQ(seen("etcd_disk_wal_fsync_duration_seconds").count, 1u) << "but of this one";
}

// A disk that frees, and discards, a whole file at once lets syncs wait.
TEST_F(LogWriterTest, PurgedFilesGoByStepsThatRest) {
  fill_files();
  std::map<std::string, std::vector<base::TimePoint>> cuts;
  host_.disk().on_operation([&](const env::simulated::Disk::Step& step) {
    if (step.operation == env::simulated::Disk::Operation::kTruncate &&
        step.path.ends_with(".wal")) {
      cuts[step.path].push_back(host_.clock().now());
    }
    return 0;
  });
  host_.lane("log").post([this] { log_->start(); });
  world_.run_for(Seconds(5));
  EXPECT_EQ(wal::list_segments(host_.disk(), Paths::of(config_).wal)->size(), config_.wals_max);
  EXPECT_EQ(cuts.size(), 3u);
  for (const auto& [path, times] : cuts) {
    EXPECT_GE(times.size(), 15u) << path;
    for (std::size_t i = 1; i < times.size(); i++) {
      EXPECT_GE(times[i] - times[i - 1], base::Milliseconds(5)) << path;
    }
  }
  host_.disk().on_operation(nullptr);
}

TEST_F(LogWriterTest, APurgedFileThatCannotBeShortenedGoesAtOnce) {
  fill_files();
  std::map<std::string, int> cuts;
  host_.disk().on_operation([&](const env::simulated::Disk::Step& step) {
    const bool is_cut =
        step.operation == env::simulated::Disk::Operation::kTruncate && step.path.ends_with(".wal");
    if (is_cut) cuts[step.path]++;
    return is_cut ? EIO : 0;
  });
  host_.lane("log").post([this] { log_->start(); });
  world_.run_for(Seconds(5));
  host_.disk().on_operation(nullptr);
  EXPECT_EQ(wal::list_segments(host_.disk(), Paths::of(config_).wal)->size(), config_.wals_max);
  EXPECT_EQ(cuts.size(), 3u);
  for (const auto& [path, times] : cuts) EXPECT_EQ(times, 1) << path;
}

TEST_F(LogWriterTest, PurgedFilesGoAtOnceWhereThereIsNoRoomForTheNextOne) {
  fill_files();
  const auto files = [this] {
    return wal::list_segments(host_.disk(), Paths::of(config_).wal)->size();
  };
  int cuts = 0;
  host_.disk().on_operation([&](const env::simulated::Disk::Step& step) {
    using enum env::simulated::Disk::Operation;
    if (step.operation == kTruncate && step.path.ends_with(".wal")) cuts++;
    return step.operation == kWrite && step.bytes == config_.wal_segment_bytes ? ENOSPC : 0;
  });
  // One of those that are ready is used up.
  for (const std::size_t before = files(); files() == before;) {
    push({.entries = {{.term = 5, .index = ++last_, .data = base::SharedBytes(record_)}}});
  }
  const std::size_t before = files();
  host_.lane("log").post([this] { log_->start(); });
  world_.run_for(Seconds(2));
  host_.disk().on_operation(nullptr);
  EXPECT_LE(files(), before - 3);
  EXPECT_EQ(cuts, 0);
}

// Records that were out of order would name a start that the log no longer has.
TEST_F(LogWriterTest, AnOwnSnapshotBehindThatOfALeaderIsNotRecorded) {
  push({.hard_state = {.term = 5, .vote = 0, .commit = 1000}, .snapshot = snapshot(1000)});
  log_->save_snapshot({snapshot(500)});
  ASSERT_TRUE(world_.run_until_idle());
  EXPECT_TRUE(saved_.empty());
  log_->save_snapshot({snapshot(1500)});
  ASSERT_TRUE(world_.run_until_idle());
  EXPECT_EQ(saved_, std::vector<raft::Index>{1500});
}

}  // namespace
}  // namespace keelson::member
