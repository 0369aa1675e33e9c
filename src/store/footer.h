// The footer of a sealed segment: what makes a look-up, a hash and a start possible without reading
// records. docs/format/store.md 2.4.
//
//   FooterBuilder   makes it, in slices, from the records in order
//   open_footer     reads what stays in memory: trailer and revision array
//   FooterKeys      walks its keys in order, block by block
//   MemoryKeys      the same walk over records that have no footer yet
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "env/file.h"
#include "store/format.h"
#include "store/revision_array.h"
#include "store/segment.h"

namespace keelson::store {

// A record as the key list has it. The key is borrowed until the source moves on.
struct KeyRow {
  std::string_view key;
  std::uint32_t ordinal = 0;
  std::uint32_t bytes = 0;  // of the payload
  bool tombstone = false;
  base::Revision mod;
  std::int64_t create_revision = 0;
  std::int64_t version = 0;
  std::int64_t lease = 0;
};

// Records in ascending order of (key, revision).
class KeySource {
 public:
  virtual ~KeySource() = default;
  // False at the end. An error names the file and the place.
  virtual base::Result<bool> next() = 0;
  // After next() said true.
  const KeyRow& row() const { return row_; }

 protected:
  KeyRow row_;
};

// Rows gathered in order of revision, given back in order of key: sorted in short runs, so that no
// call takes long, which are merged as they are read.
class MemoryKeys final : public KeySource {
 public:
  void make_room(std::size_t rows) { rows_.reserve(rows); }
  // Rows must come in ascending order of ordinal. The key is copied.
  void add(const KeyRow& row);
  // Forgets rows from this ordinal on.
  void truncate(std::uint32_t ordinal);
  // After the last row: sorts one more run, false once all are. Then next() may be called.
  bool sort_step();
  base::Result<bool> next() override;
  std::size_t size() const { return rows_.size(); }
  std::size_t memory_bytes() const { return rows_.size() * sizeof(KeyRow) + key_bytes_; }

 private:
  static constexpr std::size_t kRunRows = 1024;
  static constexpr std::size_t kArenaBytes = 64 * 1024;
  struct Run {
    std::size_t next, end;
    std::uint64_t head;  // of the next one's key
  };
  struct After;
  std::uint64_t head(std::string_view key) const;
  std::string_view keep(std::string_view key);

  std::vector<KeyRow> rows_;
  std::vector<std::unique_ptr<char[]>> arenas_;
  std::size_t key_bytes_ = 0;  // kept in them
  std::size_t arena_left_ = 0;
  char* arena_at_ = nullptr;
  std::size_t shared_bytes_ = ~std::size_t{0};  // that all keys begin with
  std::size_t sorted_ = 0;
  std::vector<Run> heap_;
};

class FooterBuilder {
 public:
  struct Config {
    std::uint64_t segment_id = 0;
    RevisionArray::Limits limits;
    std::uint64_t key_block_bytes = 60 * 1024;
    bool without_leases = false;  // BrokenRules::footers_without_leases
  };
  explicit FooterBuilder(Config config);

  // For so many records: a segment may have millions, and what grows is copied while it does.
  void make_room(std::size_t records);
  // Records in order, each with its place; the payload may be anything that a Batch took.
  void add(Place place, std::uint32_t body_crc, bool tombstone, std::string_view payload);
  std::size_t records() const { return array_.size(); }
  // What is kept of them.
  std::size_t memory_bytes() const {
    return array_.size() * sizeof(Place) + hash_rows_.size() + keys_.memory_bytes();
  }

  // All are in; the records end, and the footer begins, at `data_end`. `chain` is the segment's
  // there.
  void finish_records(std::uint64_t data_end, std::uint32_t chain);
  // Appends about `budget` bytes of footer to `out`; false once the footer is complete.
  bool step(std::size_t budget, std::string& out);

  // After step() said false.
  RevisionArray take_array() { return std::move(built_); }
  const FooterPlaces& places() const { return places_; }
  std::uint64_t end() const { return at_; }

 private:
  enum class Part { kSort, kArray, kHashRows, kKeys, kTrailer, kDone };
  void step_keys(std::size_t budget, std::string& out);
  void encode_row(const KeyRow& row);
  void end_block(std::string& out);
  std::string trailer() const;

  const Config config_;
  RevisionArray::Builder array_;
  std::string hash_rows_;
  MemoryKeys keys_;
  Part part_ = Part::kSort;
  RevisionArray built_;
  FooterPlaces places_;
  std::uint64_t data_end_ = 0;
  std::uint32_t chain_ = 0;
  std::uint32_t array_crc_ = 0;
  std::uint64_t at_ = 0;  // where the next byte of footer goes
  std::uint64_t blocks_ = 0;
  std::string block_;  // the one being filled
  std::uint32_t block_entries_ = 0;
  std::string last_key_;
  std::string entry_;
};

struct OpenedFooter {
  RevisionArray array;
  FooterPlaces places;
  std::uint64_t data_end = 0;
  std::uint64_t key_blocks = 0;
};
// The footer that ends at `end`. An error of std::errc::bad_message if it does not match its
// checksums.
base::Result<OpenedFooter> open_footer(const env::File& file, std::uint64_t segment_id,
                                       std::uint64_t end);

// Keys of a sealed segment, which outlives it. Decodes some rows ahead: a row's revision lies
// anywhere in the segment's array, and so the memory has time to come.
class FooterKeys final : public KeySource {
 public:
  explicit FooterKeys(const Segment& segment)
      : segment_(segment), next_block_(segment.footer().key_blocks) {}
  base::Result<bool> next() override;

 private:
  static constexpr std::size_t kAhead = 16;
  struct Decoded {
    KeyRow row;  // all but the key; until complete() without revisions
    std::uint64_t age = 0;
    std::string key;
  };
  base::Result<> read_block();
  base::Result<> decode_some();
  // The next entry of the block, whose key may begin with a part of `previous`.
  bool decode_entry(std::string_view previous, Decoded& out);
  void complete(Decoded& decoded) const;

  const Segment& segment_;
  std::uint64_t next_block_;
  std::uint64_t rows_read_ = 0;
  std::string block_;
  std::string_view rest_;
  std::uint32_t entries_left_ = 0;
  std::array<Decoded, kAhead> ahead_;
  std::size_t ahead_next_ = 0, ahead_end_ = 0;  // those not yet handed out
};

}  // namespace keelson::store
