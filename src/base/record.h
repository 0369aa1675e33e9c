// Changes of keys as they are persisted and told: one alone (Record), all the keys that one
// operation deleted (Tombstones), and lists in which both stand (ChangeList).
//
// A Record and the bytes it holds take some 150 bytes and an allocation. That is nothing beside a
// put; a delete of a million keys would spend most of its time in fresh memory, once for each list
// that holds it. So such deletions are packed when they are made, some 10 bytes beside the key, and
// the batch, its events and every View of it share the one copy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/revision.h"
#include "base/search.h"

namespace keelson::base {

class Tombstones;

// One change of one key. `encoded` is the stored mvccpb.KeyValue, byte for byte what clients get:
// field 1 (the key) first, canonical proto3. A tombstone's has the key alone.
struct Record {
  Revision revision;
  bool tombstone = false;
  std::int64_t create_revision = 0;  // of a put; 0 for a tombstone
  std::int64_t version = 0;          // of a put; 0 for a tombstone
  std::int64_t lease = 0;            // of a put; 0 = none
  SharedBytes encoded;

  // The key inside `encoded`.
  std::string_view key() const;
  static Record of(const Tombstones& tombstones, std::size_t i);
};
inline Revision revision_of(const Record& record) { return record.revision; }

// The key of an encoded KeyValue (field 1 first); empty if there is none.
std::string_view encoded_key(std::string_view encoded);

// The keys one operation deleted, ascending, at the revisions from `first` on. Filled by one lane,
// then immutable and shared.
class Tombstones {
 public:
  explicit Tombstones(Revision first) : first_(first) {}

  // The next key, and the change that its deletion supersedes. The length of what is encoded of it.
  std::uint32_t add(std::string_view key, Revision superseded);

  std::size_t size() const { return size_; }
  Revision first() const { return first_; }
  Revision revision(std::size_t i) const {
    return {first_.main, first_.sub + static_cast<std::int64_t>(i)};
  }
  std::string_view key(std::size_t i) const { return encoded_key(encoded(i)); }
  std::string_view encoded(std::size_t i) const;
  Revision superseded(std::size_t i) const;
  // Holds the part of memory it lies in.
  Record record(std::size_t i) const;
  // The first whose key is >= `key`; size() if there is none.
  std::size_t lower_bound(std::string_view key) const;

  // Of all that encoded() gives.
  std::size_t encoded_bytes() const { return encoded_bytes_; }

 private:
  // Rows behind each other: main and sub of what is superseded as varints, then the encoded
  // KeyValue.
  struct Chunk {
    std::string rows;
    std::vector<std::uint32_t> ends;
  };
  static constexpr std::size_t kRowsPerChunk = 1024;

  Chunk& chunk_for_next();
  const Chunk& chunk_of(std::size_t i) const { return *chunks_[i / kRowsPerChunk]; }
  std::string_view row(std::size_t i) const;

  const Revision first_;
  std::size_t size_ = 0;
  std::size_t encoded_bytes_ = 0;
  std::vector<std::shared_ptr<Chunk>> chunks_;
};

// Changes ascending by revision. A T stands for one of them: revision_of(T) is its revision, and
// T::of(tombstones, i) makes one of what is packed.
template <class T>
class ChangeList {
 public:
  // For `more` that follow one by one, and some after them.
  void make_room(std::size_t more) { alone_.reserve(alone_.size() + more + more / 8); }
  void push_back(T change) { alone_.push_back(std::move(change)); }
  void push_back(std::shared_ptr<const Tombstones> changes) {
    if (changes->size() == 0) return;
    const std::size_t begin = size();
    packed_.push_back({begin, begin + changes->size(), packed_count() + changes->size(), changes});
  }

  std::size_t size() const { return alone_.size() + packed_count(); }
  bool empty() const { return size() == 0; }

  // Neighbours from one place on: either some that stand alone, or packed ones.
  struct Part {
    std::span<const T> alone;
    const Tombstones* packed = nullptr;
    std::size_t from = 0;  // of `packed`
    std::size_t size() const { return packed == nullptr ? alone.size() : packed->size() - from; }
  };
  // place < size()
  Part part(std::size_t place) const {
    const Packed* const before = last_packed(place);
    if (before != nullptr && place < before->end) {
      return {.packed = before->changes.get(), .from = place - before->begin};
    }
    const std::size_t packed_before = before == nullptr ? 0 : before->total;
    const std::size_t next =
        before == nullptr ? 0 : static_cast<std::size_t>(before - packed_.data()) + 1;
    const std::size_t end = next < packed_.size() ? packed_[next].begin : size();
    return {.alone = std::span(alone_).subspan(place - packed_before, end - place)};
  }

  T operator[](std::size_t place) const {
    const Part here = part(place);
    return here.packed == nullptr ? here.alone.front() : T::of(*here.packed, here.from);
  }
  Revision revision(std::size_t place) const {
    const Part here = part(place);
    return here.packed == nullptr ? revision_of(here.alone.front())
                                  : here.packed->revision(here.from);
  }
  // Of a list that is not empty.
  Revision oldest() const { return revision(0); }
  Revision newest() const { return revision(size() - 1); }
  // The place of the first change >= `wanted`; size() if there is none.
  std::size_t lower_bound(Revision wanted) const {
    return partition_place(std::size_t{0}, size(),
                           [&](std::size_t place) { return revision(place) < wanted; });
  }
  // The place of the change with exactly this revision.
  std::optional<std::size_t> find(Revision wanted) const {
    const std::size_t place = lower_bound(wanted);
    return place < size() && revision(place) == wanted ? std::optional(place) : std::nullopt;
  }

  // The end of those with the main revision of this one.
  std::size_t end_of_main(std::size_t place) const {
    const std::int64_t main = revision(place).main;
    while (place < size() && revision(place).main == main) {
      const Part here = part(place);
      place += here.packed != nullptr ? here.size() : 1;
    }
    return place;
  }

  // In order. What it points at is good until it moves on.
  class Iterator {
   public:
    Iterator(const ChangeList& list, std::size_t place) : list_(list), place_(place) {}
    const T& operator*() const {
      const Part here = list_.part(place_);
      if (here.packed == nullptr) return here.alone.front();
      made_ = T::of(*here.packed, here.from);
      return *made_;
    }
    Iterator& operator++() {
      place_++;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return place_ != other.place_; }

   private:
    const ChangeList& list_;
    std::size_t place_;
    mutable std::optional<T> made_;
  };
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  struct Packed {
    std::size_t begin, end;  // places
    std::size_t total;       // packed changes up to `end`
    std::shared_ptr<const Tombstones> changes;
  };

  std::size_t packed_count() const { return packed_.empty() ? 0 : packed_.back().total; }
  // The last one that begins at or before `place`.
  const Packed* last_packed(std::size_t place) const {
    const auto after = std::ranges::upper_bound(packed_, place, {}, &Packed::begin);
    return after == packed_.begin() ? nullptr : &*std::prev(after);
  }

  std::vector<T> alone_;
  std::vector<Packed> packed_;  // rarely any
};

}  // namespace keelson::base
