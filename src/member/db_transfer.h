// The two ends of a db file that goes from member to member, as peer/ carries them.
//
//   leader    DbSource::make: this state -> DbFile -> SnapshotSource          formats.md 7.1
//   follower  DbSink: SnapshotSink -> snap/tmp-<index>.db -> staged store     formats.md 7.2
//
// docs/design/0006-receiving-a-snapshot.md. What takes long is done by one worker in slices; both
// are used and destroyed on the transport's lane, at any time: what is under way then ends by
// itself and tells nobody.
#pragma once

#include <atomic>
#include <memory>

#include "base/function.h"
#include "base/result.h"
#include "env/file.h"
#include "env/lane.h"
#include "member/boot.h"
#include "member/db_file.h"
#include "member/shared.h"
#include "peer/snapshot.h"
#include "raft/types.h"
#include "store/store.h"

namespace keelson::member {

class DbSource final : public peer::SnapshotSource {
 public:
  struct Made {
    // Of the message: the state's own index, term and members, and the v2 store that older members
    // read (formats.md 2.2). The file has the same index.
    raft::Snapshot snapshot;
    std::unique_ptr<DbSource> source;
  };
  // Lays out the state as it is now; `done` runs on `lane`. From any lane.
  static void make(Shared& shared, env::Lane& lane, base::Function<void(base::Result<Made>)> done);

  std::uint64_t size() const override { return file_->bytes(); }
  // While requests are applied it rests between two pieces (kDbRest), as a client's stream does:
  // then the cores are theirs. Where nobody writes, or its lane gives way by itself, the follower
  // gets them as fast as can be.
  void next(base::Function<void(Piece)> done) override;

 private:
  DbSource(Shared& shared, env::Lane& lane, env::Lane& worker, std::shared_ptr<DbFile> file)
      : shared_(shared), lane_(lane), worker_(worker), file_(std::move(file)) {}

  Shared& shared_;
  env::Lane& lane_;
  env::Lane& worker_;
  const std::shared_ptr<DbFile> file_;
  raft::Index applied_ = 0;  // when the last piece was asked for
};

// Imports what comes while it comes: with each piece, by slices, as far as the walk of its trees
// gets (StoreImport). What it has not come to goes to the file when two more pieces are there
// (bolt/coming_file.h): a file of another order is not held in memory. A piece is worked on until
// the walk has got as far as it can, or by some slices further: what is left it does between later
// pieces. The peer is answered when that begins, so the next piece is there when it ends, and a
// piece that cannot be imported is refused by one that follows, or by the end.
class DbSink final : public peer::SnapshotSink {
 public:
  struct Wanted {
    raft::Index index = 0;    // of the snapshot's message
    raft::Index applied = 0;  // here: what was staged up to there is of no use any more
  };
  // `options` are those of the store to be, with an id of its own. One at a time for a directory:
  // `coming` is true while there is one, and any other is refused. `files` outlives what is under
  // way.
  DbSink(env::Lane& lane, env::Lane& worker, env::FileSystem& files, const Paths& paths,
         Wanted wanted, store::Options options, std::shared_ptr<std::atomic<bool>> coming);
  ~DbSink() override;

  void write(base::SharedBytes bytes, Done done) override;
  // The store is staged when `done` hears of no error; there is no file then.
  void finish(Done done) override;

 private:
  class Work;  // on the worker

  env::Lane& worker_;
  const std::shared_ptr<Work> work_;
};

}  // namespace keelson::member
