// History: all changes kept of one key, packed. Most keys have one change, so that one is small.
//
// A change is coded in one of three ways, fixed-size, so that any change of any history is read at
// once:
//
//   short, 12 B   main and sub in 48 + 16 bits, bytes and the tombstone mark in 32. Enough for a
//                 key just created (version 1, create == main), for a change in a run, and for a
//                 tombstone; that one has 44 + 28 bits of revision and 23 of bytes, because one
//                 operation may delete millions of keys.
//   full, 20 B    a short one, then version and age (main - create), 32 bits each
//   wide          the Version itself, for numbers that do not fit: correct, and not seen in
//                 practice
//
// A run is puts of one generation, each the next version of the one before it: what most histories
// are. Its first change says create revision and version for all.
//
// A leaf of the tree holds one of these forms per key (the form is in its slot):
//
//   kFresh, kTombstone   one short change          kTwoInRun ...   one full change, then short ones
//   kPut                 one full change           kTwo, kThree    full changes, ascending
//   kFreshDeleted        kFresh and a tombstone    kChunks         {newest chunk, count, end}
//   kPutDeleted          kPut and a tombstone
//
// Longer histories live in chunks outside the leaf: append-only, shared by all roots. A record says
// how much of it is its own: `end` is the end in the newest chunk, `count` how many changes from
// there back. So an append writes beyond the end of every published record, where no reader looks,
// and a compaction makes `count` smaller. A chunk has one coding, the shortest that holds its
// changes; one that does not fit makes a copy of it. It has at most 256 changes; a full one is
// followed by another, chained back:
//
//   chunk 0 [256 of 256] <- chunk 1 [256 of 256] <- chunk 2 [40 of 64]      end = 40, count = 400:
//                152 of its own      all of them          all of them       chunk 0 counts from 104
//                on
//
// What `count` does not reach may be freed already: links are followed only to chunks within it.
//
// A History borrows the bytes of its leaf. Reading calls run on any thread; the others are the
// writer's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mvcc/key_index_memory.h"
#include "mvcc/types.h"

namespace keelson::mvcc::internal {

// What a slot of a node holds.
enum class Form : std::uint8_t {
  kChild,
  kFresh,
  kTombstone,
  kPut,
  kTwo,
  kThree,
  kChunks,
  kTwoInRun,
  kThreeInRun,
  kFourInRun,
  kFreshDeleted,
  kPutDeleted,
};

constexpr std::size_t form_bytes(Form form) {
  constexpr std::array<std::uint8_t, 12> kBytes = {8, 12, 12, 20, 40, 60, 16, 32, 44, 56, 24, 32};
  return kBytes[static_cast<std::size_t>(form)];
}
constexpr std::size_t kHistoryBytesMax = 60;
constexpr std::size_t kInlineChangesMax = 4;

// False if no compaction can change it: a single put.
constexpr bool may_compact(Form form) { return form != Form::kFresh && form != Form::kPut; }

struct History {
  Form form;
  const char* bytes;
};

// A packed history on its way into a leaf.
struct PackedHistory {
  Form form;
  std::array<char, kHistoryBytesMax> bytes;

  History view() const { return {form, bytes.data()}; }
};

std::uint64_t change_count(History history);
Version newest_change(History history);

// The newest change with main <= revision, and how many changes there are up to it; 0: none.
struct Found {
  std::uint64_t rank = 0;
  Version version;
};
Found find_change(History history, std::int64_t revision);

// Changes from the oldest but `first` on, at most `limit`, in ascending order.
void append_changes(History history, std::uint64_t first, std::uint64_t limit,
                    std::vector<Version>& out);

// `changes` in ascending order, at least one.
PackedHistory make_history(Memory& memory, std::span<const Version> changes);
// `history` and one newer change. What is no longer needed is discarded; use the answer only.
PackedHistory with_change(Memory& memory, History history, const Version& change);
// `history` without its oldest `dropped` changes; at least one is left. Likewise.
PackedHistory without_oldest(Memory& memory, History history, std::uint64_t dropped);
// The whole history is gone from the newest state.
void discard_history(Memory& memory, History history);
// Frees what it holds outside its leaf, for the end of the whole index.
void destroy_history(Memory& memory, History history);

}  // namespace keelson::mvcc::internal
