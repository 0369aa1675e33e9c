#include "store/footer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/varint.h"

namespace keelson::store {
namespace {

constexpr std::size_t kTrailerBytes = 128;
constexpr std::uint32_t kTrailerMagic = 0x5254464B;  // "KFTR"
constexpr std::size_t kBlockHeadBytes = 16;
constexpr std::uint64_t kWideFlag = 1;

bool is_before(const KeyRow& a, const KeyRow& b) {
  if (const int order = a.key.compare(b.key); order != 0) return order < 0;
  return a.ordinal < b.ordinal;
}

}  // namespace

// ---- MemoryKeys ----

// Of two runs, the one whose next row comes later is lower in the heap. Most are told apart without
// a look at their keys, which lie anywhere in memory.
struct MemoryKeys::After {
  const std::vector<KeyRow>& rows;
  bool operator()(const Run& a, const Run& b) const {
    if (a.head != b.head) return a.head > b.head;
    return is_before(rows[b.next], rows[a.next]);
  }
};

std::string_view MemoryKeys::keep(std::string_view key) {
  if (key.size() > arena_left_) {
    arena_left_ = std::max(kArenaBytes, key.size());
    arenas_.push_back(std::make_unique_for_overwrite<char[]>(arena_left_));
    arena_at_ = arenas_.back().get();
  }
  if (!key.empty()) std::memcpy(arena_at_, key.data(), key.size());
  const std::string_view kept(arena_at_, key.size());
  arena_at_ += key.size();
  arena_left_ -= key.size();
  key_bytes_ += key.size();
  return kept;
}

// The eight bytes behind what all keys share, as a number; of a shorter one followed by zeros. Keys
// of which one is smaller have heads that are not in the other order.
std::uint64_t MemoryKeys::head(std::string_view key) const {
  char bytes[sizeof(std::uint64_t)] = {};
  const std::string_view rest = key.substr(std::min(shared_bytes_, key.size()));
  std::memcpy(bytes, rest.data(), std::min(rest.size(), sizeof bytes));
  return std::byteswap(base::load_le<std::uint64_t>(bytes));
}

void MemoryKeys::add(const KeyRow& row) {
  const std::string_view first = rows_.empty() ? row.key : rows_.front().key;
  const std::size_t length = std::min({shared_bytes_, first.size(), row.key.size()});
  shared_bytes_ = static_cast<std::size_t>(
      std::mismatch(row.key.begin(), row.key.begin() + static_cast<std::ptrdiff_t>(length),
                    first.begin())
          .first -
      row.key.begin());
  rows_.push_back(row);
  rows_.back().key = keep(row.key);
}

void MemoryKeys::truncate(std::uint32_t ordinal) {
  while (!rows_.empty() && rows_.back().ordinal >= ordinal) rows_.pop_back();
}

bool MemoryKeys::sort_step() {
  if (sorted_ == rows_.size()) return false;
  const std::size_t end = std::min(rows_.size(), sorted_ + kRunRows);
  std::sort(rows_.begin() + static_cast<std::ptrdiff_t>(sorted_),
            rows_.begin() + static_cast<std::ptrdiff_t>(end), is_before);
  heap_.push_back({sorted_, end, head(rows_[sorted_].key)});
  std::push_heap(heap_.begin(), heap_.end(), After{rows_});
  sorted_ = end;
  return true;
}

base::Result<bool> MemoryKeys::next() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), After{rows_});
  Run& run = heap_.back();
  row_ = rows_[run.next++];
  if (run.next == run.end) {
    heap_.pop_back();
  } else {
    // Runs take turns, and their keys lie anywhere in memory: it has the time until their next one.
    if (run.next + 2 < run.end) {
      __builtin_prefetch(rows_[run.next + 1].key.data());
      __builtin_prefetch(&rows_[run.next + 2]);
    }
    run.head = head(rows_[run.next].key);
    std::push_heap(heap_.begin(), heap_.end(), After{rows_});
  }
  return true;
}

// ---- FooterBuilder ----

FooterBuilder::FooterBuilder(Config config) : config_(config), array_(config.limits) {}

void FooterBuilder::make_room(std::size_t records) {
  array_.make_room(records);
  hash_rows_.reserve(records * kHashRowBytes);
  keys_.make_room(records);
}

void FooterBuilder::add(Place place, std::uint32_t crc, bool tombstone, std::string_view payload) {
  const auto ordinal = static_cast<std::uint32_t>(array_.size());
  const auto length = static_cast<std::uint32_t>(payload.size());
  array_.add(place);
  append_le(hash_rows_, crc);
  append_le(hash_rows_, length | (tombstone ? TailEntry::kTombstoneBit : 0));
  const KeyValueFields fields = parse_key_value(payload).value_or(KeyValueFields{});
  keys_.add({.key = fields.key,
             .ordinal = ordinal,
             .bytes = length,
             .tombstone = tombstone,
             .mod = place.revision,
             .create_revision = fields.create_revision,
             .version = fields.version,
             .lease = config_.without_leases ? 0 : fields.lease});
}

void FooterBuilder::finish_records(std::uint64_t data_end, std::uint32_t chain) {
  data_end_ = at_ = data_end;
  chain_ = chain;
}

bool FooterBuilder::step(std::size_t budget, std::string& out) {
  switch (part_) {
    case Part::kSort:
      if (!keys_.sort_step()) part_ = Part::kArray;
      return true;
    case Part::kArray: {
      built_ = array_.build();
      const std::string bytes = built_.encode();
      array_crc_ = base::crc32c(0, bytes);
      out.append(bytes);
      at_ += bytes.size();
      part_ = Part::kHashRows;
      return true;
    }
    case Part::kHashRows:
      places_.hash_rows = at_;
      places_.hash_rows_crc = base::crc32c(0, hash_rows_);
      out.append(hash_rows_);
      at_ += hash_rows_.size();
      hash_rows_ = {};
      places_.key_blocks = at_;
      part_ = Part::kKeys;
      return true;
    case Part::kKeys:
      step_keys(budget, out);
      return true;
    case Part::kTrailer:
      places_.trailer = at_;
      out.append(trailer());
      at_ += kTrailerBytes;
      part_ = Part::kDone;
      return false;
    case Part::kDone:
      return false;
  }
  CHECK(false);
}

void FooterBuilder::step_keys(std::size_t budget, std::string& out) {
  const std::size_t until = out.size() + budget;
  for (std::size_t encoded = 0; out.size() + encoded < until;) {
    if (!*keys_.next()) {  // in memory: cannot fail
      end_block(out);
      part_ = Part::kTrailer;
      return;
    }
    encode_row(keys_.row());
    if (block_entries_ > 0 &&
        kBlockHeadBytes + block_.size() + entry_.size() > config_.key_block_bytes) {
      end_block(out);
      encode_row(keys_.row());  // again: the first of a block shares nothing
    }
    block_.append(entry_);
    block_entries_++;
    last_key_.assign(keys_.row().key);
    encoded += entry_.size();
  }
}

void FooterBuilder::encode_row(const KeyRow& row) {
  std::size_t shared = 0;
  if (block_entries_ > 0) {
    const auto [a, b] =
        std::mismatch(row.key.begin(), row.key.end(), last_key_.begin(), last_key_.end());
    shared = static_cast<std::size_t>(a - row.key.begin());
    MAYBE(b == last_key_.end());
  }
  entry_.clear();
  base::put_varint(entry_, shared);
  base::put_varint(entry_, row.key.size() - shared);
  entry_.append(row.key.substr(shared));
  base::put_varint(entry_, row.ordinal);
  base::put_varint(entry_, std::uint64_t{row.bytes} << 1 | (row.tombstone ? 1 : 0));
  if (row.tombstone) return;
  base::put_varint(entry_, static_cast<std::uint64_t>(row.mod.main) -
                               static_cast<std::uint64_t>(row.create_revision));
  base::put_varint(entry_, static_cast<std::uint64_t>(row.version));
  base::put_varint(entry_, static_cast<std::uint64_t>(row.lease));
}

void FooterBuilder::end_block(std::string& out) {
  if (block_entries_ == 0) return;
  std::string head(kBlockHeadBytes, '\0');
  block_.resize(round_up(block_.size(), kAlign));
  store_le(&head[4], static_cast<std::uint32_t>(head.size() + block_.size()));
  store_le(&head[8], block_entries_);
  std::string whole = head + block_;
  store_le(&whole[0], placed_crc(config_.segment_id, at_, std::string_view(whole).substr(4)));
  out.append(whole);
  at_ += whole.size();
  blocks_++;
  block_.clear();
  block_entries_ = 0;
}

std::string FooterBuilder::trailer() const {
  std::string out(kTrailerBytes, '\0');
  const std::size_t records = array_.size();
  const base::Revision last = records == 0 ? base::Revision{} : array_[records - 1].revision;
  store_le(&out[4], kTrailerMagic);
  store_le<std::uint64_t>(&out[8], built_.wide() ? kWideFlag : 0);
  store_le<std::uint64_t>(&out[16], records);
  store_le(&out[24], built_.base());
  store_le(&out[32], data_end_);
  store_le(&out[40], places_.hash_rows);
  store_le(&out[48], places_.key_blocks);
  store_le(&out[56], places_.trailer);
  store_le(&out[64], array_crc_);
  store_le(&out[68], places_.hash_rows_crc);
  store_le(&out[72], blocks_);
  store_le(&out[80], last.main);
  store_le(&out[88], last.sub);
  store_le<std::uint64_t>(&out[96], chain_);
  store_le(&out[0],
           placed_crc(config_.segment_id, places_.trailer, std::string_view(out).substr(4)));
  return out;
}

// ---- reading ----

base::Result<OpenedFooter> open_footer(const env::File& file, std::uint64_t segment_id,
                                       std::uint64_t end) {
  const auto bad = [&](std::uint64_t at, std::string_view expected) {
    return base::fail(corrupt(file.path(), at, expected));
  };
  if (end < kFileHeaderBytes + kTrailerBytes) return bad(end, "room for a trailer before it");
  const std::uint64_t at = end - kTrailerBytes;
  char trailer[kTrailerBytes];
  ASSIGN_OR_RETURN(const std::size_t got, file.read_at(at, trailer));
  const std::string_view summed(trailer + 4, kTrailerBytes - 4);
  if (got != kTrailerBytes || load_le<std::uint32_t>(trailer + 4) != kTrailerMagic ||
      load_le<std::uint32_t>(trailer) != placed_crc(segment_id, at, summed)) {
    return bad(at, "the trailer of a footer");
  }
  const bool wide = (load_le<std::uint64_t>(trailer + 8) & kWideFlag) != 0;
  const auto records = load_le<std::uint64_t>(trailer + 16);
  OpenedFooter footer{.places = {.hash_rows = load_le<std::uint64_t>(trailer + 40),
                                 .key_blocks = load_le<std::uint64_t>(trailer + 48),
                                 .trailer = load_le<std::uint64_t>(trailer + 56),
                                 .hash_rows_crc = load_le<std::uint32_t>(trailer + 68)},
                      .data_end = load_le<std::uint64_t>(trailer + 32),
                      .key_blocks = load_le<std::uint64_t>(trailer + 72)};
  const FooterPlaces& places = footer.places;
  if (places.trailer != at || footer.data_end > places.hash_rows ||
      places.hash_rows > places.key_blocks || places.key_blocks > at ||
      (places.key_blocks - places.hash_rows) / kHashRowBytes != records) {
    return bad(at, "the parts of a footer in order");
  }
  std::string array(places.hash_rows - footer.data_end, '\0');
  ASSIGN_OR_RETURN(const std::size_t array_got, file.read_at(footer.data_end, array));
  if (array_got != array.size() || base::crc32c(0, array) != load_le<std::uint32_t>(trailer + 64)) {
    return bad(footer.data_end, "a revision array of the trailer's checksum");
  }
  auto decoded = RevisionArray::decode(array, records, load_le<std::int64_t>(trailer + 24), wide);
  if (!decoded) return bad(footer.data_end, "revisions in ascending order");
  footer.array = *std::move(decoded);
  return footer;
}

base::Result<> FooterKeys::read_block() {
  const std::string& path = segment_.file().path();
  char head[kBlockHeadBytes];
  ASSIGN_OR_RETURN(const std::size_t got, segment_.file().read_at(next_block_, head));
  const auto length = got == sizeof head ? load_le<std::uint32_t>(head + 4) : 0;
  if (length < kBlockHeadBytes || length > segment_.footer().trailer - next_block_) {
    return base::fail(corrupt(path, next_block_, "a block of keys"));
  }
  block_.resize(length);
  ASSIGN_OR_RETURN(const std::size_t block_got, segment_.file().read_at(next_block_, block_));
  const std::string_view summed = std::string_view(block_).substr(4);
  if (block_got != length ||
      load_le<std::uint32_t>(block_.data()) != placed_crc(segment_.id(), next_block_, summed)) {
    return base::fail(corrupt(path, next_block_, "a block of keys of its checksum"));
  }
  entries_left_ = load_le<std::uint32_t>(&block_[8]);
  rest_ = std::string_view(block_).substr(kBlockHeadBytes);
  next_block_ += length;
  return {};
}

bool FooterKeys::decode_entry(std::string_view previous, Decoded& out) {
  const auto shared = base::take_varint(rest_), added = base::take_varint(rest_);
  if (!shared || !added || *shared > previous.size() || *added > rest_.size()) return false;
  out.key.assign(previous.substr(0, *shared));
  out.key.append(rest_.substr(0, *added));
  rest_.remove_prefix(*added);
  const auto ordinal = base::take_varint(rest_), size = base::take_varint(rest_);
  if (!ordinal || !size || *ordinal >= segment_.records()) return false;
  out.row = {.ordinal = static_cast<std::uint32_t>(*ordinal),
             .bytes = static_cast<std::uint32_t>(*size >> 1),
             .tombstone = (*size & 1) != 0};
  segment_.array().prefetch(*ordinal);
  if (out.row.tombstone) return true;
  const auto age = base::take_varint(rest_), version = base::take_varint(rest_),
             lease = base::take_varint(rest_);
  if (!age || !version || !lease) return false;
  out.age = *age;
  out.row.version = static_cast<std::int64_t>(*version);
  out.row.lease = static_cast<std::int64_t>(*lease);
  return true;
}

void FooterKeys::complete(Decoded& decoded) const {
  KeyRow& row = decoded.row;
  row.key = decoded.key;
  row.mod = segment_.revision(row.ordinal);
  if (row.tombstone) return;
  row.create_revision =
      static_cast<std::int64_t>(static_cast<std::uint64_t>(row.mod.main) - decoded.age);
}

base::Result<> FooterKeys::decode_some() {
  std::string_view previous = ahead_end_ == 0 ? std::string_view() : ahead_[ahead_end_ - 1].key;
  const std::string last(previous);  // its place is about to be used again
  previous = last;
  ahead_next_ = ahead_end_ = 0;
  std::size_t end = 0;
  for (; end < kAhead && entries_left_ > 0; end++, entries_left_--) {
    if (!decode_entry(previous, ahead_[end])) {
      rest_ = {};  // what follows makes no sense either
      return base::fail(corrupt(segment_.file().path(), next_block_ - block_.size(),
                                "entries of a block of keys"));
    }
    previous = ahead_[end].key;
  }
  ahead_end_ = end;
  for (std::size_t i = 0; i < end; i++) complete(ahead_[i]);
  return {};
}

base::Result<bool> FooterKeys::next() {
  while (ahead_next_ == ahead_end_ && entries_left_ == 0) {
    if (next_block_ == segment_.footer().trailer) {
      if (rows_read_ == segment_.records()) return false;
      return base::fail(corrupt(segment_.file().path(), next_block_,
                                fmt::format("{} keys before", segment_.records())));
    }
    RETURN_IF_ERROR(read_block());
    ahead_next_ = ahead_end_ = 0;  // the first of a block shares nothing
  }
  if (ahead_next_ == ahead_end_) RETURN_IF_ERROR(decode_some());
  row_ = ahead_[ahead_next_++].row;
  rows_read_++;
  return true;
}

}  // namespace keelson::store
