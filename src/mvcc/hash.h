// Which of the stored changes a hash covers. formats.md 5.7, api.md 9.6.
//
// Members compare these hashes, with members of etcd too, so what is covered must follow from the
// log alone: not from how far the index's compaction, or the store's collection, has got. Both
// cursors therefore see each key's history as it is once compaction at the view's floor is
// finished:
//
//   put 2, put 5, delete 7 | put 9, put 12       floor 5:  put 5, delete 7 | put 9, put 12
//                                                floor 7:  delete 7 | put 9, put 12
//                                                floor 8:  put 9, put 12
//
// They choose revisions; a RevisionHasher of the store knows the records' checksums and combines
// them. Threads: any lane, while the owner holds the view's batch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "mvcc/range.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

// What HashKV(revision) covers.
//
// All changes from the floor on up to `revision`, and of those at or below the floor only what a
// compaction at `revision` would keep; never a tombstone exactly at the floor. One quirk of etcd's:
// if such a compaction would keep nothing of any key, everything at or below the floor is covered.
//
// searching --(first key of which something would be kept, or no key is left)--> adding --> done
class HashCursor {
 public:
  // `revision` 0 = current; a negative one covers nothing, as in etcd. kCompacted, kFutureRevision.
  static base::Result<HashCursor, Errc> make(const View& view, std::int64_t revision);

  // What etcd hashes while it compacts at `revision`, and answers to HashKV(revision) afterwards.
  // `before` is the view just before that compaction, its own floor compacted to the end. It
  // differs in the quirk alone: a tombstone exactly at `revision` counts as kept.
  static base::Result<HashCursor, Errc> make_for_compaction(const View& before,
                                                            std::int64_t revision);

  // Some 300 us of a worker, for whoever hashes beside others.
  static constexpr std::size_t kKeysPerSlice = 1000;
  // Looks at about `budget` keys; true when all are seen.
  bool step(std::size_t budget, base::RevisionHasher& hasher);
  // Of one that is done: whether the quirk applies, so that a member that has compacted at this
  // revision and one that has not yet say something else of the same data.
  bool is_ambiguous() const { return is_ambiguous_; }
  std::int64_t revision() const { return revision_; }
  // The floor the hash was taken at, for the answer.
  std::int64_t compact_revision() const { return view_.compact_revision; }

 private:
  HashCursor(const View& view, std::int64_t revision);
  bool search(std::size_t& budget);
  void add(base::RevisionHasher& hasher);

  View view_;
  std::int64_t revision_;
  KeyIndexView::Cursor cursor_;
  bool tombstones_are_kept_ = false;
  bool keeps_nothing_ = true;     // known only when `adding_`, as is the next
  bool is_ambiguous_ = false;     // nothing would be kept, but for tombstones at `revision_`
  bool keeps_tombstone_ = false;  // at `revision_`, of some key
  bool adding_ = false;
  std::vector<Version> history_;  // of the key under the cursor
};

// The changes that are left once compaction at the view's floor is finished, a tombstone exactly at
// the floor too: what a copy of the key bucket holds.
class KeptCursor {
 public:
  explicit KeptCursor(const View& view);

  // Looks at about `budget` keys, ascending, and appends their changes to `out`; true when all are
  // seen.
  bool step(std::size_t budget, std::vector<Revision>& out);

 private:
  View view_;
  KeyIndexView::Cursor cursor_;
  std::vector<Version> history_;
};

// What Maintenance.Hash covers of the key bucket: all that is kept.
class WholeHashCursor {
 public:
  explicit WholeHashCursor(const View& view) : kept_(view) {}

  // As HashCursor::step.
  bool step(std::size_t budget, base::RevisionHasher& hasher);

 private:
  KeptCursor kept_;
  std::vector<Revision> revisions_;
};

}  // namespace keelson::mvcc
