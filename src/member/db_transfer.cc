#include "member/db_transfer.h"

#include <fmt/format.h>

#include <algorithm>

#include "bolt/coming_file.h"
#include "member/applier.h"
#include "member/log_snapshot.h"
#include "member/staged_store.h"

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
        file(std::make_shared<DbFile>(std::move(state), piece_bytes(common))) {}

  // Where segments are small, which is for simulation, pieces are.
  static std::uint64_t piece_bytes(const Shared& shared) {
    return std::min(kDbPieceBytes, shared.config.store.segment_bytes);
  }

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
  env::Lane& worker = shared.transfer_lane();
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
  if (!is_busy || worker_.gives_way()) return worker_.post(std::move(make));
  lane_.after(kDbRest, [&worker = worker_, make = std::move(make)]() mutable {
    worker.post(std::move(make));
  });
}

// ---- the follower's end ----

class DbSink::Work : public std::enable_shared_from_this<Work> {
  // Of a file whose root comes late there may be much to catch up with, and an etcd that is not
  // answered within five seconds gives up. Together some megabytes.
  static constexpr std::size_t kSlicesPerPiece = 64;

 public:
  Work(env::Lane& lane, env::Lane& worker, env::FileSystem& files, const Paths& paths,
       Wanted wanted, store::Options options, std::shared_ptr<std::atomic<bool>> coming)
      : lane_(lane),
        worker_(worker),
        is_only_(!coming->exchange(true)),
        coming_flag_(std::move(coming)),
        files_(files),
        paths_(paths),
        index_(wanted.index),
        applied_(wanted.applied),
        options_(std::move(options)),
        path_(env::join_path(paths.snap, fmt::format("tmp-{:016x}.db", wanted.index))) {}
  ~Work() {
    import_.reset();
    MAYBE(remove_file().ok());
    if (is_only_) coming_flag_->store(false);
  }

  void write(base::SharedBytes bytes, Done done) {
    when_free([this, bytes = std::move(bytes), done = std::move(done)]() mutable {
      const auto taken = take(std::move(bytes));
      if (taken) work(kSlicesPerPiece);
      answer(taken, done);
    });
  }
  void finish(Done done) {
    when_free([this, done = std::move(done)]() mutable {
      if (imported_ && import_ == nullptr) {
        imported_ = fail(base::make_error(std::errc::bad_message, "a snapshot without a file"));
      }
      if (!imported_) return answer(imported_, done);
      coming_->end();
      waiting_ = std::move(done);
      work(~std::size_t{0});
    });
  }
  // Nobody waits for it any more.
  void abandon() {
    import_.reset();
    next_ = nullptr;
  }

 private:
  base::Result<> take(base::SharedBytes bytes) {
    if (!is_only_) {
      return fail(
          base::make_error(std::errc::device_or_resource_busy, "another snapshot is coming"));
    }
    RETURN_IF_ERROR(imported_);
    if (coming_ == nullptr) RETURN_IF_ERROR(begin());
    return coming_->come(std::move(bytes));
  }
  base::Result<> begin() {
    RETURN_IF_ERROR(remove_staged(files_, paths_, applied_));
    ASSIGN_OR_RETURN(auto file, files_.open(path_, env::OpenMode::kCreate));
    // Only what was left over is cut: ext4 writes a file that was, out at its close.
    ASSIGN_OR_RETURN(const std::uint64_t left_over, file->size());
    if (left_over > 0) RETURN_IF_ERROR(file->truncate(0));
    coming_ = std::make_unique<bolt::ComingFile>(std::move(file));
    ASSIGN_OR_RETURN(import_, StoreImport::begin(files_, paths_, *coming_, index_, options_));
    return {};
  }

  // One thing at a time: at once, or when the walk has got as far as it should.
  void when_free(base::Job job) {
    if (!is_at_work_) return job();
    CHECK(!next_);
    next_ = std::move(job);
  }
  // Lets the walk get as far as it can, in so many slices at most.
  void work(std::size_t slices) {
    is_at_work_ = true;
    slices_left_ = slices;
    go_on();
  }
  void end_work() {
    is_at_work_ = false;
    answer(imported_, waiting_);
    if (next_) std::exchange(next_, nullptr)();
  }
  // A slice after the other, each a job.
  void go_on() {
    if (std::exchange(is_going_on_, true)) return;
    worker_.post([self = shared_from_this()] {
      self->is_going_on_ = false;
      if (self->import_ != nullptr) self->slice();
    });
  }
  void slice() {
    const auto step = import_->step();
    if (step && *step == StoreImport::Step::kMore) {
      go_on();
      if (slices_left_ > 0 && --slices_left_ == 0) end_work();
      return;
    }
    const bool is_over = !step || *step == StoreImport::Step::kDone;
    if (!step) imported_ = fail(step.error());
    if (is_over) import_.reset();
    if (auto removed = is_over ? remove_file() : base::Result<>(); imported_) imported_ = removed;
    end_work();
  }
  // It goes also if nothing can be made of it: it would not be asked for again.
  base::Result<> remove_file() {
    if (coming_ == nullptr) return {};
    coming_.reset();
    return files_.remove(path_);
  }
  void answer(base::Result<> result, Done& done) {
    if (!done) return;
    lane_.post([result = std::move(result), done = std::exchange(done, nullptr)]() mutable {
      done(std::move(result));
    });
  }

  env::Lane& lane_;
  env::Lane& worker_;
  const bool is_only_;
  const std::shared_ptr<std::atomic<bool>> coming_flag_;
  env::FileSystem& files_;
  const Paths paths_;
  const raft::Index index_, applied_;
  const store::Options options_;
  const std::string path_;
  std::unique_ptr<bolt::ComingFile> coming_;
  std::unique_ptr<StoreImport> import_;  // until it is done, or has failed
  base::Result<> imported_;              // what has gone wrong, if anything
  bool is_going_on_ = false;             // a slice is on its way
  bool is_at_work_ = false;              // on the last piece, or on the end
  std::size_t slices_left_ = 0;          // of that
  Done waiting_;                         // for the end
  base::Job next_;                       // what was asked for meanwhile
};

DbSink::DbSink(env::Lane& lane, env::Lane& worker, env::FileSystem& files, const Paths& paths,
               Wanted wanted, store::Options options, std::shared_ptr<std::atomic<bool>> coming)
    : worker_(worker),
      work_(std::make_shared<Work>(lane, worker, files, paths, wanted, std::move(options),
                                   std::move(coming))) {}

// The last of its jobs destroys what is on the worker, and removes what has not come whole.
DbSink::~DbSink() {
  worker_.post([work = work_] { work->abandon(); });
}

void DbSink::write(base::SharedBytes bytes, Done done) {
  worker_.post([work = work_, bytes = std::move(bytes), done = std::move(done)]() mutable {
    work->write(std::move(bytes), std::move(done));
  });
}

void DbSink::finish(Done done) {
  worker_.post([work = work_, done = std::move(done)]() mutable { work->finish(std::move(done)); });
}

}  // namespace keelson::member
