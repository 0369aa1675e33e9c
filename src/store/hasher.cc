#include "store/hasher.h"

#include <algorithm>
#include <bit>

#include "store/crc_join.h"
#include "store/segment.h"

namespace keelson::store {
namespace {

using base::Revision;
using base::StorageErrc;

// Marked records of one segment or batch.
class Marks {
 public:
  void set(std::size_t place, std::size_t count) {
    words_.resize((count + 63) / 64);
    words_[place / 64] |= std::uint64_t{1} << (place % 64);
  }
  template <class Visit>
  void each(const Visit& visit) const {
    for (std::size_t i = 0; i < words_.size(); i++) {
      for (std::uint64_t word = words_[i]; word != 0; word &= word - 1) {
        visit(i * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }
  bool none() const { return words_.empty(); }
  const std::vector<std::uint64_t>& words() const { return words_; }

 private:
  std::vector<std::uint64_t> words_;
};

void join(Sum& sum, const Sum& next) {
  sum.crc = crc_join(sum.crc, next.crc, next.length);
  sum.length += next.length;
}

class Hasher final : public base::RevisionHasher {
 public:
  Hasher(std::shared_ptr<const Snapshot> snapshot,
         std::vector<std::shared_ptr<const base::Batch>> pending)
      : snapshot_(std::move(snapshot)),
        pending_(std::move(pending)),
        stored_marks_(snapshot_->table().segments().size()),
        pending_marks_(pending_.size()) {}

  void add(Revision revision) override {
    if (!(revision <= snapshot_->newest() ? add_stored(revision) : add_pending(revision))) {
      missing_ = true;
    }
  }

  base::Result<std::uint32_t, StorageErrc> finish(std::uint32_t crc) override {
    if (missing_) return base::fail(StorageErrc::kMissing);
    Sum sum{.crc = crc};
    for (std::size_t i = 0; i < stored_marks_.size(); i++) {
      if (stored_marks_[i].none()) continue;
      ASSIGN_OR_RETURN(const Sum part, stored_sum(i));
      join(sum, part);
    }
    for (std::size_t i = 0; i < pending_marks_.size(); i++) {
      pending_marks_[i].each([&](std::size_t place) {
        const base::Record& record = pending_[i]->records()[place];
        const auto crc = body_crc(record.revision, record.tombstone, record.encoded);
        join(sum, {crc, body_bytes(record.tombstone, record.encoded.size())});
      });
    }
    return sum.crc;
  }

 private:
  bool add_stored(Revision revision) {
    const SegmentTable& table = snapshot_->table();
    const std::size_t at = table.segment_of(revision);
    if (at == table.segments().size()) return false;
    const bool is_tail = at + 1 == table.segments().size();
    const Segment& segment = *table.segments()[at];
    const std::size_t count = is_tail ? snapshot_->tail_records() : segment.records();
    const auto ordinal = segment.find(revision, count);
    if (ordinal) stored_marks_[at].set(*ordinal, count);
    return ordinal.has_value();
  }

  bool add_pending(Revision revision) {
    const auto it = std::lower_bound(
        pending_.begin(), pending_.end(), revision, [](const auto& batch, Revision wanted) {
          return batch->records().empty() || batch->records().back().revision < wanted;
        });
    if (it == pending_.end()) return false;
    const auto& records = (*it)->records();
    const base::Record* record = (*it)->find(revision);
    if (record == nullptr) return false;
    pending_marks_[static_cast<std::size_t>(it - pending_.begin())].set(
        static_cast<std::size_t>(record - records.data()), records.size());
    return true;
  }

  base::Result<Sum, StorageErrc> stored_sum(std::size_t at) const {
    const Segment& segment = *snapshot_->table().segments()[at];
    const Marks& marks = stored_marks_[at];
    Sum sum;
    if (!segment.sealed()) {
      marks.each([&](std::size_t place) {
        const TailEntry& entry = (*segment.tail())[place];
        join(sum, {entry.body_crc, body_bytes(entry.tombstone(), entry.length())});
      });
      return sum;
    }
    if (const auto known = segment.hash_cache().find(marks.words())) return *known;
    ASSIGN_OR_RETURN(const std::string rows, read_hash_rows(segment));
    marks.each([&](std::size_t place) {
      const char* row = rows.data() + place * kHashRowBytes;
      const auto length = load_le<std::uint32_t>(row + 4);
      const bool tombstone = (length & TailEntry::kTombstoneBit) != 0;
      join(sum, {load_le<std::uint32_t>(row),
                 body_bytes(tombstone, length & ~TailEntry::kTombstoneBit)});
    });
    segment.hash_cache().keep(marks.words(), sum);
    return sum;
  }

  base::Result<std::string, StorageErrc> read_hash_rows(const Segment& segment) const {
    ReadCounters& counters = snapshot_->table().counters();
    std::string rows(segment.records() * kHashRowBytes, '\0');
    const auto got = segment.file().read_at(segment.footer().hash_rows, rows);
    if (!got) {
      counters.failed++;
      return base::fail(StorageErrc::kIo);
    }
    if (*got != rows.size() || base::crc32c(0, rows) != segment.footer().hash_rows_crc) {
      counters.corrupt++;
      return base::fail(StorageErrc::kCorrupt);
    }
    return rows;
  }

  const std::shared_ptr<const Snapshot> snapshot_;
  const std::vector<std::shared_ptr<const base::Batch>> pending_;
  std::vector<Marks> stored_marks_;
  std::vector<Marks> pending_marks_;
  bool missing_ = false;
};

}  // namespace

std::unique_ptr<base::RevisionHasher> make_hasher(
    std::shared_ptr<const Snapshot> snapshot,
    std::vector<std::shared_ptr<const base::Batch>> pending) {
  std::erase_if(pending, [](const auto& batch) { return batch->records().empty(); });
  return std::make_unique<Hasher>(std::move(snapshot), std::move(pending));
}

}  // namespace keelson::store
