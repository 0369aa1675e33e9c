// KeyIndex: all keys in order, each with its history, in memory. It says which revision answers a
// question; the store turns revisions into bytes.
//
//   key "a":   put 2, put 5, delete 7 | put 9, put 12        two generations; tombstone at 7
//   get("a", 6) -> 5      get("a", 8) -> none     get("a", 9) -> 9 (version 1, create 9)
//   compact(5):  put 5, delete 7 | put 9, put 12             the newest change <= 5 stays
//   compact(7):  delete 7 | put 9, put 12                    a tombstone exactly at the floor stays
//   compact(8):  put 9, put 12                               ... and goes with the next compaction
//
// A copy-on-write B-tree of our own (docs/design: key index): one writer, any number of readers,
// each at its own root. Edits of the running batch are made in place where the node was born in it.
//
// Invariants
//   I1  A published root never changes, but for chunks that grow beyond what it shows; what it
//   reaches
//       is freed only after every batch number at which it was the root has been released.
//   I2  A key's changes are kept in ascending order of revision; put() and compaction keep it so.
//   I3  A published batch is never abandoned: histories have one future.
//
// Layers, each with its own page: key_index_node.h (pages of the tree), key_index_history.h
// (changes of one key), key_index_memory.h (what is freed when).
//
// Threads: the writer's calls belong to one lane. KeyIndexView is a plain value, used on any lane
// while its batch is held: the owner publishes, hands views out, and calls release(batch) on the
// writer's lane when the last one is gone. There are no atomics in here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

namespace internal {
struct Node;
class Tree;
}  // namespace internal

// One root of the index.
class KeyIndexView {
 public:
  KeyIndexView() = default;  // no keys

  // The newest change of `key` with main <= `revision`; nullopt if there is none or it is a
  // tombstone.
  std::optional<Version> get(std::string_view key, std::int64_t revision) const;
  // Likewise, but a tombstone is an answer too.
  std::optional<Version> newest(std::string_view key, std::int64_t revision) const;

  // Walks keys in ascending order. Valid while the view's batch is held.
  class Cursor {
   public:
    bool valid() const;
    // The view ends with the next call of next() or seek().
    std::string_view key() const;
    // As KeyIndexView::get, for the key under the cursor.
    std::optional<Version> get(std::int64_t revision) const;
    std::optional<Version> newest(std::int64_t revision) const;
    // All changes kept of this key, ascending, appended to `out`.
    void history(std::vector<Version>& out) const;
    void next();
    // To the first key >= `key`.
    void seek(std::string_view key);

   private:
    friend class KeyIndexView;
    struct Step {
      const internal::Node* node;
      std::size_t slot;
    };
    void descend_first(const internal::Node* node);
    void skip_end_of_leaf();

    const internal::Node* root_ = nullptr;
    std::vector<Step> path_;   // root to leaf; empty at the end
    mutable std::string key_;  // prefix and suffix put together
  };
  // A cursor at the first key >= `from`.
  Cursor seek(std::string_view from) const;

  // The number under which this root must be released.
  std::uint64_t batch() const { return batch_; }

 private:
  friend class KeyIndex;
  const internal::Node* root_ = nullptr;
  std::uint64_t batch_ = 0;
};

struct KeyChange {
  std::string_view key;
  Version version;
};

class KeyIndex {
 public:
  struct Stats {
    std::uint64_t keys = 0;       // with at least one change kept, deleted ones included
    std::uint64_t live_keys = 0;  // whose newest change is a put
    std::uint64_t nodes = 0;
    std::uint64_t bytes = 0;          // held by the newest root, histories included
    std::uint64_t retired_bytes = 0;  // kept only for older roots
  };

  KeyIndex();
  ~KeyIndex();
  KeyIndex(const KeyIndex&) = delete;
  KeyIndex& operator=(const KeyIndex&) = delete;

  // Adds a change; newer than all changes of this key so far.
  void put(std::string_view key, const Version& version);
  // The same for keys in ascending order, each once. Where they lie close together, a leaf is
  // rewritten once for all of its own.
  void put_all(std::span<const KeyChange> changes);
  // Deletes the live keys of a range, in order, at `first` and the revisions that follow it in the
  // operation; a leaf is rewritten once for all of its own. Each key and its newest change are told
  // to `deleting`, which says how long the tombstone's record is.
  using Deleting = base::Function<std::uint32_t(std::string_view key, const Version& superseded)>;
  void delete_range(const KeyRange& range, Revision first, Deleting deleting);

  // The state with all edits so far, for the writer alone and until its next edit.
  KeyIndexView current() const;

  // Makes the edits so far a root of its own, held until release(view.batch()).
  KeyIndexView publish();
  // Frees what only this root reached, a bounded part at once and the rest with later publishes
  // and calls of free_due().
  void release(std::uint64_t batch);
  // Frees a bounded part of what waits for that; true if more does.
  bool free_due();

  // Compaction at `floor`, a slice at a time: from keys >= `from`, looking at about `budget` of
  // them, drops all changes older than the newest one <= floor, and that one too if it is a
  // tombstone older than the floor (api.md 2.8). `dropped` receives the revisions that died,
  // tombstones too, at most `budget` of them; they may be collected. Start from "". At the end done
  // is true; else go on from `next`. A key with a long history may take several slices; what reads
  // at >= floor see is the same before, between and after them.
  struct CompactSlice {
    bool done = false;
    std::string next;
    std::vector<Revision> dropped;
  };
  CompactSlice compact(std::int64_t floor, std::string_view from, std::size_t budget);

  // Fills an empty index with keys in ascending order, each with its changes in ascending order.
  void load(std::string_view key, std::span<const Version> history);
  void finish_load();

  const Stats& stats() const;

 private:
  const std::unique_ptr<internal::Tree> tree_;
};

}  // namespace keelson::mvcc
