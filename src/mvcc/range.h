// Range over one View: which keys answer, how many, and how long their bytes are, before a value is
// read.
//
// A read goes in two passes over an immutable root. RangePlan, the first, counts and measures; its
// cursor is stepped by its owner in slices, so a long range holds no lane. RangeRows, the second,
// yields the rows in the order of the answer, in runs, for the owner to read and send. For natural
// order nothing is gathered: both passes walk the index. Other orders keep their rows (charged to a
// budget); a sort by value also reads values.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "mvcc/key_index.h"
#include "mvcc/overlay.h"
#include "mvcc/types.h"
#include "proto/rpc.pb.h"

namespace keelson::mvcc {

// What reads need of the store's state at one moment. The owner keeps index.batch() held meanwhile.
struct View {
  KeyIndexView index;
  std::int64_t revision = 1;           // current
  std::int64_t compact_revision = -1;  // -1: never compacted
};

// One row of an answer. `bytes` is what it occupies as stored, or for keys_only as rebuilt from the
// index.
struct RangeRow {
  Version version;
  std::string key;            // filled only where the row must be built from the index (keys_only)
  base::SharedBytes encoded;  // filled only where values were read already (sort by value)
};

class RangePlan {
 public:
  enum class Status { kMore, kNeed, kDone, kFailed };
  static constexpr std::uint64_t kUnbounded = ~std::uint64_t{0};

  // The request is copied as far as it is needed. Does not validate what the front end validates
  // (empty key, enums). Rows gathered may take up to `memory_budget` bytes, else kTooMuchMemory.
  RangePlan(const View& view, const etcdserverpb::RangeRequest& request, std::size_t memory_budget);
  // Inside a txn: with `overlay` (nullptr: none) over the index where the current revision is asked
  // for.
  RangePlan(const View& view, const etcdserverpb::RangeRequest& request, std::size_t memory_budget,
            const Overlay* overlay);
  ~RangePlan();
  RangePlan(RangePlan&&) noexcept;
  RangePlan& operator=(RangePlan&&) noexcept;

  // Looks at about `budget` keys.
  Status step(std::size_t budget);
  // After kNeed: the revisions whose bytes are wanted; give them to feed() and step again.
  std::span<const Revision> needed() const;
  void feed(std::span<base::ReadResult> read);
  Errc error() const;  // after kFailed
  // Of the rows it has gathered.
  std::size_t memory_bytes() const;

  // After kDone.
  std::int64_t count() const;
  bool more() const;
  std::size_t rows() const;
  // Length of the rows as repeated field `kvs` (tag, length and KeyValue of each).
  std::uint64_t encoded_bytes() const;

  // The rows, from the first on, at most `limit` a call and no further one once they have
  // `bytes_max` as stored; empty at the end. After kDone.
  std::vector<RangeRow> next_rows(std::size_t limit, std::uint64_t bytes_max = kUnbounded);
  // True if rows carry all that is needed (keys_only, sorted by value) and no read of the store.
  bool rows_are_complete() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The encoded KeyValue of a keys_only row: key, create, mod, version; no value, no lease.
std::string encode_keys_only(std::string_view key, const Version& version);

// A whole answer in memory, for ranges inside a Txn and for tests.
struct RangeResult {
  std::int64_t revision = 0;  // for the header
  std::int64_t count = 0;
  bool more = false;
  std::vector<base::SharedBytes> kvs;  // encoded KeyValues, in order
};

// Runs a plan to its end, reading through `reader` (may block).
base::Result<RangeResult, Errc> range(const View& view, const etcdserverpb::RangeRequest& request,
                                      const base::RevisionReader& reader,
                                      std::size_t memory_budget);

// All compares of a txn's list against `view`, api.md 2.7. Value compares read through `reader`.
base::Result<bool, Errc> compares_hold(
    const View& view, const google::protobuf::RepeatedPtrField<etcdserverpb::Compare>& compares,
    const base::RevisionReader& reader);

}  // namespace keelson::mvcc
