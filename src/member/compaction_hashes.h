// Hashes of compactions: what etcd sums while it compacts, and answers to HashKV of exactly that
// revision afterwards, though it has been compacted since. Members compare them. formats.md 5.7.
//
// A compaction at R is hashed from the View that shows its floor and has dropped nothing yet, by a
// worker, in slices with rests between them; until that is done the View is held. Only one whose
// predecessor was finished counts: then its hash covers all since the last one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/function.h"
#include "env/lane.h"

namespace keelson::member {

struct Shared;
struct View;

struct CompactionHash {
  std::int64_t revision = 0;          // compacted at
  std::int64_t compact_revision = 0;  // the floor before
  std::uint32_t hash = 0;
  // By a quirk of etcd's (mvcc/hash.h) a member that has not compacted yet says another one of the
  // same data, and does not say that it has not.
  bool is_ambiguous = false;
};

// As a View carries them. Immutable.
struct CompactionHashes {
  std::vector<CompactionHash> known;    // the newest, ascending by revision
  std::vector<std::int64_t> under_way;  // revisions whose hash is being made

  const CompactionHash* find(std::int64_t revision) const;
  bool expects(std::int64_t revision) const;
};

// Makes them. Jobs of the apply lane only, but for the slices.
class CompactionHasher {
 public:
  // `changed` runs on the lane when `hashes()` is another than before.
  CompactionHasher(env::Lane& lane, Shared& shared, base::Function<void()> changed);

  // A compaction at `revision` will be hashed; hashes() says so. Then, with its View:
  void expect(std::int64_t revision);
  void begin(std::shared_ptr<const View> view, std::int64_t floor_before, std::int64_t revision);

  const std::shared_ptr<const CompactionHashes>& hashes() const { return hashes_; }

 private:
  struct Work;
  void slice(std::shared_ptr<Work> work);  // on a worker
  void done(const Work& work);

  env::Lane& lane_;
  Shared& shared_;
  base::Function<void()> changed_;
  std::shared_ptr<const CompactionHashes> hashes_ = std::make_shared<CompactionHashes>();
};

}  // namespace keelson::member
