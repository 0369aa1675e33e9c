#include "api/hash.h"

#include <optional>

#include "base/crc32c.h"
#include "store/buckets.h"
#include "store/store.h"

namespace keelson::api {
namespace {

constexpr std::size_t kKeysPerSlice = 20'000;  // some milliseconds of a worker

std::uint32_t begin_key_bucket(std::uint32_t crc) { return base::crc32c(crc, "key"); }

// One slice of either cursor; true with the last, when `out` is the hash or why there is none.
template <class Cursor>
bool step(Cursor& cursor, base::RevisionHasher& hasher, std::uint32_t before,
          base::Result<std::uint32_t, mvcc::Errc>& out) {
  if (!cursor.step(kKeysPerSlice, hasher)) return false;
  auto hash = hasher.finish(begin_key_bucket(before));
  if (hash) {
    out = *hash;
  } else {
    out = base::fail(mvcc::Errc::kUnreadable);
  }
  return true;
}

}  // namespace

struct KeysHasher::Work {
  std::shared_ptr<const member::View> view;
  mvcc::HashCursor cursor;
  std::unique_ptr<base::RevisionHasher> hasher;
  base::Result<std::uint32_t, mvcc::Errc> hash = 0u;
};

KeysHasher::KeysHasher(member::Front& front, std::int64_t revision, Done done)
    : front_(front), done_(std::move(done)), waiting_(front) {
  begin(revision);
}
KeysHasher::~KeysHasher() = default;

void KeysHasher::begin(std::int64_t revision) {
  const auto view = front_.view();
  if (view->compaction_hashes->expects(revision)) return await_compaction(revision);
  if (const auto* known = view->compaction_hashes->find(revision)) {
    waiting_ = front_.on_worker([this, view, known]() -> base::Job {
      return [this, view, known] {
        waiting_ = 0;
        done_(KeysHash{.view = view,
                       .hash = known->hash,
                       .revision = known->revision,
                       .compact_revision = known->compact_revision});
      };
    });
    return;
  }
  auto cursor = mvcc::HashCursor::make(view->keys, revision);
  if (!cursor) {
    waiting_ = front_.on_worker([this, errc = cursor.error()]() -> base::Job {
      return [this, errc] { done_(base::fail(status_of(errc))); };
    });
    return;
  }
  work_ = std::make_shared<Work>(
      Work{.view = view, .cursor = *std::move(cursor), .hasher = view->reader->hasher()});
  slice();
}

void KeysHasher::await_compaction(std::int64_t revision) {
  waiting_ = front_.when(
      [revision](const member::View& view) { return !view.compaction_hashes->expects(revision); },
      std::nullopt,
      [this, revision](auto view) {
        waiting_ = 0;
        if (!view) return done_(base::fail(status_of(view.error())));
        begin(revision);
      });
}

void KeysHasher::slice() {
  waiting_ = front_.on_worker([this, work = work_]() -> base::Job {
    const bool last = step(work->cursor, *work->hasher, 0, work->hash);
    return [this, work, last] {
      waiting_ = 0;
      if (!last) return slice();
      if (!work->hash) return done_(base::fail(status_of(work->hash.error())));
      done_(KeysHash{.view = work->view,
                     .hash = *work->hash,
                     .revision = work->cursor.revision(),
                     .compact_revision = work->cursor.compact_revision()});
    };
  });
}

struct StateHasher::Work {
  explicit Work(std::shared_ptr<const member::View> of)
      : view(std::move(of)), cursor(view->keys), hasher(view->reader->hasher()) {}
  std::shared_ptr<const member::View> view;
  mvcc::WholeHashCursor cursor;
  std::unique_ptr<base::RevisionHasher> hasher;
  store::Sum before, after;  // of the other buckets
  base::Result<std::uint32_t, mvcc::Errc> hash = 0u;
};

StateHasher::StateHasher(member::Front& front, Done done)
    : front_(front),
      done_(std::move(done)),
      work_(std::make_shared<Work>(front.view())),
      waiting_(front) {
  // The store has all that the View shows; what it has got since then counts too.
  waiting_ = front_.on_store([this, work = work_](store::Store& store) -> base::Job {
    work->before = store.buckets().hash_before_key();
    work->after = store.buckets().hash_after_key();
    return [this] { slice(); };
  });
}
StateHasher::~StateHasher() = default;

void StateHasher::slice() {
  waiting_ = front_.on_worker([this, work = work_]() -> base::Job {
    const bool last = step(work->cursor, *work->hasher, work->before.crc, work->hash);
    return [this, work, last] {
      waiting_ = 0;
      if (!last) return slice();
      if (!work->hash) return done_(base::fail(status_of(work->hash.error())));
      done_(StateHash{
          .view = work->view,
          .hash = base::crc32c_combine(*work->hash, work->after.crc, work->after.length)});
    };
  });
}

}  // namespace keelson::api
