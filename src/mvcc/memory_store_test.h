// MemoryStore: what the store does for tests of this directory: keeps batches, gives records back,
// hashes.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/storage.h"

namespace keelson::mvcc {

class MemoryStore final : public base::RevisionReader {
 public:
  using Records = std::map<base::Revision, base::Record>;
  using Buckets = std::map<base::Bucket, std::map<std::string, std::string, std::less<>>>;

  void append(const base::Batch& batch) {
    for (const auto& record : batch.records()) records_.emplace(record.revision, record);
    for (const auto& change : batch.changes()) {
      auto& bucket = buckets_[change.bucket];
      if (change.value) {
        bucket[change.key] = *change.value;
      } else {
        bucket.erase(change.key);
      }
    }
  }
  void collect(const std::vector<base::Revision>& dead) {
    for (const auto& revision : dead) CHECK_EQ(records_.erase(revision), 1u);
  }
  // From now on this record answers with an error.
  void damage(base::Revision revision) { damaged_.insert(revision); }
  void repair() { damaged_.clear(); }

  const Records& records() const { return records_; }
  const Buckets& buckets() const { return buckets_; }
  // The main revision stored under this key of the meta bucket, -1 if there is none.
  std::int64_t meta_revision(std::string_view key) const {
    const auto bucket = buckets_.find(base::Bucket::kMeta);
    if (bucket == buckets_.end()) return -1;
    const auto it = bucket->second.find(key);
    if (it == bucket->second.end()) return -1;
    CHECK_EQ(it->second.size(), base::kRevisionKeyBytes);
    std::uint64_t main = 0;
    for (int i = 0; i < 8; i++) main = main << 8 | static_cast<unsigned char>(it->second[i]);
    return static_cast<std::int64_t>(main);
  }
  std::size_t reads() const { return reads_; }

  void try_read(std::span<const base::Revision> revisions,
                std::span<base::ReadResult> out) const override {
    read(revisions, out);
  }
  void read(std::span<const base::Revision> revisions,
            std::span<base::ReadResult> out) const override {
    CHECK_EQ(revisions.size(), out.size());
    for (std::size_t i = 0; i < revisions.size(); i++) out[i] = read_one(revisions[i]);
  }

  std::unique_ptr<base::RevisionScan> scan(base::Revision first,
                                           base::Revision last) const override {
    return std::make_unique<Scan>(*this, first, last);
  }
  std::unique_ptr<base::RevisionHasher> hasher() const override {
    return std::make_unique<Hasher>(*this);
  }

 private:
  class Scan final : public base::RevisionScan {
   public:
    Scan(const MemoryStore& store, base::Revision first, base::Revision last)
        : store_(store), next_(store.records_.lower_bound(first)), last_(last) {}
    base::Result<std::vector<base::Record>, base::StorageErrc> next(std::size_t limit) override {
      std::vector<base::Record> out;
      for (; next_ != store_.records_.end() && next_->first <= last_ && out.size() < limit;
           ++next_) {
        if (store_.damaged_.contains(next_->first)) {
          return base::fail(base::StorageErrc::kCorrupt);
        }
        out.push_back(next_->second);
      }
      return out;
    }

   private:
    const MemoryStore& store_;
    Records::const_iterator next_;
    base::Revision last_;
  };

  class Hasher final : public base::RevisionHasher {
   public:
    explicit Hasher(const MemoryStore& store) : store_(store) {}
    void add(base::Revision revision) override { chosen_.insert(revision); }
    base::Result<std::uint32_t, base::StorageErrc> finish(std::uint32_t crc) override {
      for (const auto& revision : chosen_) {
        const auto it = store_.records_.find(revision);
        if (it == store_.records_.end()) return base::fail(base::StorageErrc::kMissing);
        crc = base::crc32c(crc, base::revision_key(revision, it->second.tombstone));
        crc = base::crc32c(crc, it->second.encoded);
      }
      return crc;
    }

   private:
    const MemoryStore& store_;
    std::set<base::Revision> chosen_;
  };

  base::ReadResult read_one(base::Revision revision) const {
    reads_++;
    base::ReadResult result{.state = base::ReadResult::State::kError};
    if (damaged_.contains(revision)) {
      result.error = base::StorageErrc::kCorrupt;
    } else if (const auto it = records_.find(revision); it != records_.end()) {
      result = {.state = base::ReadResult::State::kBytes, .bytes = it->second.encoded};
    }
    return result;
  }

  Records records_;
  Buckets buckets_;
  std::set<base::Revision> damaged_;
  mutable std::size_t reads_ = 0;
};

}  // namespace keelson::mvcc
