#include "member/compaction_hashes.h"

#include <algorithm>
#include <optional>

#include "base/crc32c.h"
#include "env/log.h"
#include "member/shared.h"
#include "member/slice_pace.h"
#include "mvcc/hash.h"

namespace keelson::member {
namespace {

constexpr std::size_t kHashesMax = 10;  // etcd's

}  // namespace

const CompactionHash* CompactionHashes::find(std::int64_t revision) const {
  const auto it = std::find_if(known.begin(), known.end(), [revision](const CompactionHash& one) {
    return one.revision == revision;
  });
  return it == known.end() ? nullptr : &*it;
}

bool CompactionHashes::expects(std::int64_t revision) const {
  return std::find(under_way.begin(), under_way.end(), revision) != under_way.end();
}

struct CompactionHasher::Work {
  env::Lane& worker;
  std::shared_ptr<const View> view;  // what the cursor walks
  mvcc::HashCursor cursor;
  std::unique_ptr<base::RevisionHasher> hasher;
  CompactionHash hash;
  bool readable = true;
};

CompactionHasher::CompactionHasher(env::Lane& lane, Shared& shared, base::Function<void()> changed)
    : lane_(lane), shared_(shared), changed_(std::move(changed)) {}

void CompactionHasher::expect(std::int64_t revision) {
  auto next = std::make_shared<CompactionHashes>(*hashes_);
  next->under_way.push_back(revision);
  hashes_ = std::move(next);
}

void CompactionHasher::begin(std::shared_ptr<const View> view, std::int64_t floor_before,
                             std::int64_t revision) {
  CHECK(hashes_->expects(revision));
  mvcc::View before = view->keys;
  before.compact_revision = floor_before;
  auto cursor = mvcc::HashCursor::make_for_compaction(before, revision);
  CHECK(cursor.ok());  // a compaction was allowed there
  auto hasher = view->reader->hasher();
  auto work = std::make_shared<Work>(
      Work{.worker = shared_.any_worker(),
           .view = std::move(view),
           .cursor = *std::move(cursor),
           .hasher = std::move(hasher),
           .hash = {.revision = revision, .compact_revision = floor_before}});
  env::Lane& worker = work->worker;
  worker.post([this, work = std::move(work)]() mutable { slice(std::move(work)); });
}

void CompactionHasher::slice(std::shared_ptr<Work> work) {
  if (!work->cursor.step(mvcc::HashCursor::kKeysPerSlice, *work->hasher)) {
    env::Lane& worker = work->worker;
    worker.after(kSliceRest, [this, work = std::move(work)]() mutable { slice(std::move(work)); });
    return;
  }
  auto hash = work->hasher->finish(base::crc32c(0, "key"));
  work->readable = hash.ok();
  if (hash) work->hash.hash = *hash;
  work->hash.is_ambiguous = work->cursor.is_ambiguous();
  work->view.reset();
  work->hasher.reset();
  lane_.post([this, work = std::move(work)] { done(*work); });
}

void CompactionHasher::done(const Work& work) {
  auto next = std::make_shared<CompactionHashes>(*hashes_);
  next->under_way.erase(
      std::find(next->under_way.begin(), next->under_way.end(), work.hash.revision));
  if (work.readable) {
    auto& known = next->known;
    known.insert(
        std::upper_bound(known.begin(), known.end(), work.hash,
                         [](const auto& a, const auto& b) { return a.revision < b.revision; }),
        work.hash);
    if (known.size() > kHashesMax) known.erase(known.begin());
    env::log_info("storing new hash", {{"hash", work.hash.hash},
                                       {"revision", work.hash.revision},
                                       {"compact-revision", work.hash.compact_revision}});
  } else {
    env::log_warn("a compaction cannot be hashed: a stored record cannot be read",
                  {{"revision", work.hash.revision}});
  }
  hashes_ = std::move(next);
  changed_();
}

}  // namespace keelson::member
