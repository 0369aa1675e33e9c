#include "member/keys_hasher.h"

#include <optional>

#include "base/crc32c.h"

namespace keelson::member {
namespace {

base::Result<std::uint32_t, HashFailure> finish_bucket(base::RevisionHasher& hasher) {
  auto hash = hasher.finish(base::crc32c(0, "key"));
  if (!hash) return base::fail(HashFailure(mvcc::Errc::kUnreadable));
  return *hash;
}

}  // namespace

std::string_view describe(const HashFailure& failure) {
  const auto* errc = std::get_if<mvcc::Errc>(&failure);
  if (errc == nullptr) return "no answer in time";
  switch (*errc) {
    case mvcc::Errc::kCompacted:
      return "mvcc: required revision has been compacted";
    case mvcc::Errc::kFutureRevision:
      return "mvcc: required revision is a future revision";
    case mvcc::Errc::kUnreadable:
      return "keelson: a stored record cannot be read on this member";
    case mvcc::Errc::kKeyNotFound:
    case mvcc::Errc::kLeaseNotFound:
    case mvcc::Errc::kTooMuchMemory:
      break;
  }
  CHECK_MSG(false, "not of a hash");
}

struct KeysHasher::Work {
  std::shared_ptr<const View> view;
  mvcc::HashCursor cursor;
  std::unique_ptr<base::RevisionHasher> hasher;
  std::optional<std::uint32_t> hash;  // once all is seen, and could be read

  // On a worker; true at the end.
  bool step() {
    if (!cursor.step(mvcc::HashCursor::kKeysPerSlice, *hasher)) return false;
    if (const auto finished = finish_bucket(*hasher)) hash = *finished;
    return true;
  }
};

KeysHasher::KeysHasher(Front& front, std::int64_t revision, Done done,
                       std::optional<base::Duration> patience)
    : front_(front),
      done_(std::move(done)),
      begun_(front.lane().clock().now()),
      patience_(patience) {
  begin(revision);
}
KeysHasher::~KeysHasher() { front_.forget(waiting_); }

void KeysHasher::begin(std::int64_t revision) {
  const auto view = front_.view();
  if (view->compaction_hashes->expects(revision)) return await_compaction(revision);
  if (const auto* known = view->compaction_hashes->find(revision)) {
    return finish_soon(KeysHash{.view = view,
                                .hash = known->hash,
                                .revision = known->revision,
                                .compact_revision = known->compact_revision});
  }
  auto cursor = mvcc::HashCursor::make(view->keys, revision);
  if (!cursor) return finish_soon(base::fail(HashFailure(cursor.error())));
  work_ = std::make_shared<Work>(Work{
      .view = view, .cursor = *std::move(cursor), .hasher = view->reader->hasher(), .hash = {}});
  hash();
}

void KeysHasher::await_compaction(std::int64_t revision) {
  waiting_ = front_.when(
      [revision](const View& view) { return !view.compaction_hashes->expects(revision); },
      std::nullopt,
      [this, revision](auto view) {
        waiting_ = 0;
        if (!view) return finish(base::fail(HashFailure(view.error())));
        begin(revision);
      });
}

void KeysHasher::hash() {
  waiting_ =
      front_.in_slices([work = work_] { return work->step(); },
                       [this, work = work_] {
                         waiting_ = 0;
                         if (!work->hash)
                           return finish(base::fail(HashFailure(mvcc::Errc::kUnreadable)));
                         finish(KeysHash{.view = work->view,
                                         .hash = *work->hash,
                                         .revision = work->cursor.revision(),
                                         .compact_revision = work->cursor.compact_revision()});
                       },
                       pace());
}

// A seventh is for what comes after the slices, and for the way.
SlicePace KeysHasher::pace() const {
  if (!patience_) return SlicePace();
  const std::size_t keys = work_->view->index_stats.keys;
  return SlicePace(SlicePace::Limit{.slices = keys / mvcc::HashCursor::kKeysPerSlice + 1,
                                    .by = begun_ + *patience_ * 6 / 7});
}

void KeysHasher::finish(base::Result<KeysHash, HashFailure> result) {
  if (result) {
    front_.shared().metrics.hash_revision_seconds.observe(front_.lane().clock().now() - begun_);
  }
  std::exchange(done_, {})(std::move(result));
}

void KeysHasher::finish_soon(base::Result<KeysHash, HashFailure> result) {
  waiting_ = front_.on_worker([this, result = std::move(result)]() mutable -> base::Job {
    return [this, result = std::move(result)]() mutable {
      waiting_ = 0;
      finish(std::move(result));
    };
  });
}

namespace {

base::Result<KeysHash, HashFailure> hash_all(const std::shared_ptr<const View>& view,
                                             base::Result<mvcc::HashCursor, mvcc::Errc> cursor) {
  CHECK(cursor.ok());  // there always is a newest revision
  const auto hasher = view->reader->hasher();
  while (!cursor->step(mvcc::HashCursor::kKeysPerSlice, *hasher)) continue;
  ASSIGN_OR_RETURN(const std::uint32_t hash, finish_bucket(*hasher));
  return KeysHash{.view = view,
                  .hash = hash,
                  .revision = cursor->revision(),
                  .compact_revision = cursor->compact_revision(),
                  .is_ambiguous = cursor->is_ambiguous()};
}

}  // namespace

base::Result<KeysHash, HashFailure> hash_keys(const std::shared_ptr<const View>& view) {
  return hash_all(view, mvcc::HashCursor::make(view->keys, 0));
}

base::Result<KeysHash, HashFailure> hash_keys_as_compaction(
    const std::shared_ptr<const View>& view) {
  return hash_all(view, mvcc::HashCursor::make_for_compaction(view->keys, view->keys.revision));
}

}  // namespace keelson::member
