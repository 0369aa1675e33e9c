#include "store/hasher.h"

#include <algorithm>

#include "store/crc_join.h"
#include "store/marks.h"
#include "store/segment.h"

namespace keelson::store {
namespace {

using base::Revision;
using base::StorageErrc;

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
        const base::Record record = pending_[i]->records()[place];
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
          return batch->records().empty() || batch->records().newest() < wanted;
        });
    if (it == pending_.end()) return false;
    const auto& records = (*it)->records();
    const auto place = records.find(revision);
    if (!place) return false;
    pending_marks_[static_cast<std::size_t>(it - pending_.begin())].set(*place, records.size());
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
    ASSIGN_OR_RETURN(const std::string rows,
                     read_hash_rows(segment, snapshot_->table().counters()));
    marks.each([&](std::size_t place) {
      const HashRow row = decode_hash_row(rows, place);
      join(sum, {row.body_crc, body_bytes(row.tombstone, row.length)});
    });
    segment.hash_cache().keep(marks.words(), sum);
    return sum;
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
