#include "member/db_transfer.h"

#include <fmt/format.h>

#include "bolt/format.h"
#include "member/applier.h"
#include "member/log_snapshot.h"
#include "member/staged_store.h"
#include "wal/snapshotter.h"

namespace keelson::member {

using base::fail;

// ---- the leader's end ----

namespace {

// Plans a file, slice by slice, each a job of a worker.
struct Planning : std::enable_shared_from_this<Planning> {
  Planning(Shared& common, env::Lane& to, env::Lane& by, DbState state)
      : shared(common),
        lane(to),
        worker(by),
        snapshot(
            log_snapshot(*state.view->roster, state.view->applied_index, state.view->applied_term)),
        file(std::make_shared<DbFile>(std::move(state))) {}

  void slice(base::Function<void(base::Result<>)> done) {
    worker.post([self = shared_from_this(), done = std::move(done)]() mutable {
      const auto planned = self->file->plan();
      if (planned && !*planned) return self->slice(std::move(done));
      base::Result<> result;
      if (!planned) result = fail(planned.error());
      self->lane.post([result, done = std::move(done)]() mutable { done(result); });
    });
  }

  Shared& shared;
  env::Lane& lane;
  env::Lane& worker;
  raft::Snapshot snapshot;
  std::shared_ptr<DbFile> file;
};

}  // namespace

void DbSource::make(Shared& shared, env::Lane& lane,
                    base::Function<void(base::Result<Made>)> done) {
  env::Lane& worker = shared.any_worker();
  shared.applier->run_at_state([&shared, &lane, &worker, done = std::move(done)](
                                   std::shared_ptr<const View> view, store::Store& store) mutable {
    auto planning =
        std::make_shared<Planning>(shared, lane, worker, DbState::of(std::move(view), store));
    planning->slice([planning, done = std::move(done)](base::Result<> result) mutable {
      if (!result) return done(fail(result.error()));
      done(Made{.snapshot = std::move(planning->snapshot),
                .source = std::unique_ptr<DbSource>(new DbSource(
                    planning->shared, planning->lane, planning->worker, planning->file))});
    });
  });
}

void DbSource::next(base::Function<void(Piece)> done) {
  auto make = [&lane = lane_, file = file_, done = std::move(done)]() mutable {
    auto bytes = file->next();
    Piece piece = base::SharedBytes();
    if (bytes) {
      piece = base::SharedBytes(*std::move(bytes));
    } else {
      piece = fail(bytes.error());
    }
    lane.post(
        [piece = std::move(piece), done = std::move(done)]() mutable { done(std::move(piece)); });
  };
  const raft::Index applied = shared_.progress.applied.load(std::memory_order_relaxed);
  const bool is_busy = std::exchange(applied_, applied) != applied;
  if (!is_busy) return worker_.post(std::move(make));
  lane_.after(kDbRest, [&worker = worker_, make = std::move(make)]() mutable {
    worker.post(std::move(make));
  });
}

// ---- the follower's end ----

class DbSink::Work {
 public:
  Work(env::FileSystem& files, const Paths& paths, Wanted wanted, store::Options options,
       std::shared_ptr<std::atomic<bool>> coming)
      : is_only_(!coming->exchange(true)),
        coming_flag_(std::move(coming)),
        files_(files),
        paths_(paths),
        index_(wanted.index),
        applied_(wanted.applied),
        options_(std::move(options)),
        coming_(env::join_path(paths.snap, fmt::format("tmp-{:016x}.db", wanted.index))),
        database_(wal::Snapshotter(files, paths.snap).database_path(wanted.index)) {}
  ~Work() {
    if (file_ != nullptr) MAYBE(files_.remove(coming_).ok());
    if (is_only_) coming_flag_->store(false);
  }

  base::Result<> write(std::string_view bytes) {
    if (!is_only_) {
      return fail(
          base::make_error(std::errc::device_or_resource_busy, "another snapshot is coming"));
    }
    if (file_ == nullptr) {
      RETURN_IF_ERROR(remove_staged(files_, paths_, applied_));
      ASSIGN_OR_RETURN(file_, files_.open(coming_, env::OpenMode::kCreate));
      RETURN_IF_ERROR(file_->truncate(0));
    }
    const bool had_head = length_ >= kHeadBytes;
    RETURN_IF_ERROR(file_->write_at(length_, bytes));
    length_ += bytes.size();
    if (!had_head && length_ >= kHeadBytes) RETURN_IF_ERROR(check_room());
    return {};
  }
  // A slice; true when the store is staged. The file goes then, and also if nothing can be made of
  // it: it would not be asked for again.
  base::Result<bool> finish() {
    if (file_ != nullptr) RETURN_IF_ERROR(keep());
    auto is_staged = import_slice();
    if (!is_staged || *is_staged) RETURN_IF_ERROR(files_.remove(database_));
    return is_staged;
  }

 private:
  base::Result<bool> import_slice() {
    if (import_ != nullptr) return import_->step();
    ASSIGN_OR_RETURN(import_, StoreImport::begin(files_, paths_, database_, index_, options_));
    return false;
  }

  static constexpr std::size_t kHeadBytes = bolt::kPageHeaderBytes + bolt::kMetaBytes;

  // The first page says how long all will be; one that is damaged says nothing, and the import
  // looks at the second.
  base::Result<> check_room() {
    char head[kHeadBytes];
    ASSIGN_OR_RETURN(const std::size_t got, file_->read_at(0, head));
    const auto meta =
        got == sizeof head ? bolt::decode_meta(head + bolt::kPageHeaderBytes) : std::nullopt;
    if (!meta) return {};
    ASSIGN_OR_RETURN(const auto space, files_.space(paths_.snap));
    const std::uint64_t pages_max = space.available / meta->page_bytes;
    const std::uint64_t needed =
        meta->high_water * meta->page_bytes * 5 / 2 + 2 * options_.segment_bytes;
    if (meta->high_water <= pages_max && needed <= space.available) return {};
    return fail(base::make_error(
        std::errc::no_space_on_device,
        fmt::format("a snapshot of {} pages of {} bytes needs room for two and a half of it in {}, "
                    "and {} bytes are free",
                    meta->high_water, meta->page_bytes, paths_.member, space.available)));
  }
  // Not synced: the log's record, from which on a start needs the data, comes after the staged
  // store is durable. So most of the file may never reach the disk.
  base::Result<> keep() {
    RETURN_IF_ERROR(files_.rename(coming_, database_));
    file_.reset();
    return {};
  }

  const bool is_only_;
  const std::shared_ptr<std::atomic<bool>> coming_flag_;
  env::FileSystem& files_;
  const Paths paths_;
  const raft::Index index_, applied_;
  const store::Options options_;
  const std::string coming_, database_;
  std::unique_ptr<env::File> file_;  // while it comes
  std::uint64_t length_ = 0;
  std::unique_ptr<StoreImport> import_;
};

DbSink::DbSink(env::Lane& lane, env::Lane& worker, env::FileSystem& files, const Paths& paths,
               Wanted wanted, store::Options options, std::shared_ptr<std::atomic<bool>> coming)
    : lane_(lane),
      worker_(worker),
      work_(std::make_shared<Work>(files, paths, wanted, std::move(options), std::move(coming))) {}

// The last of its jobs destroys what is on the worker, and removes a file that has not come whole.
DbSink::~DbSink() {
  worker_.post([work = work_] { static_cast<void>(work); });
}

// Runs `slice` on the worker until it says true or fails.
void DbSink::run(base::Function<base::Result<bool>(Work&)> slice, Done done) {
  struct Running : std::enable_shared_from_this<Running> {
    void go() {
      worker->post([self = this->shared_from_this()] {
        const auto is_over = self->slice(*self->work);
        if (is_over && !*is_over) return self->go();
        base::Result<> result;
        if (!is_over) result = fail(is_over.error());
        self->lane->post([self, result] { self->done(result); });
      });
    }
    env::Lane* lane;
    env::Lane* worker;
    std::shared_ptr<Work> work;
    base::Function<base::Result<bool>(Work&)> slice;
    Done done;
  };
  auto running = std::make_shared<Running>();
  running->lane = &lane_;
  running->worker = &worker_;
  running->work = work_;
  running->slice = std::move(slice);
  running->done = std::move(done);
  running->go();
}

void DbSink::write(base::SharedBytes bytes, Done done) {
  run(
      [bytes = std::move(bytes)](Work& work) -> base::Result<bool> {
        RETURN_IF_ERROR(work.write(bytes));
        return true;
      },
      std::move(done));
}

void DbSink::finish(Done done) {
  run([](Work& work) { return work.finish(); }, std::move(done));
}

}  // namespace keelson::member
