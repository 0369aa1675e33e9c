#include "api/hash.h"

#include <optional>

#include "base/crc32c.h"
#include "store/buckets.h"
#include "store/store.h"

namespace keelson::api {
struct StateHasher::Work {
  explicit Work(std::shared_ptr<const member::View> of)
      : view(std::move(of)), cursor(view->keys), hasher(view->reader->hasher()) {}
  std::shared_ptr<const member::View> view;
  mvcc::WholeHashCursor cursor;
  std::unique_ptr<base::RevisionHasher> hasher;
  store::Sum before, after;           // of the other buckets
  std::optional<std::uint32_t> hash;  // of all up to the keys, once they are read

  // On a worker; true at the end.
  bool step() {
    if (!cursor.step(mvcc::HashCursor::kKeysPerSlice, *hasher)) return false;
    if (const auto finished = hasher->finish(base::crc32c(before.crc, "key"))) hash = *finished;
    return true;
  }
};

StateHasher::StateHasher(member::Front& front, Done done)
    : front_(front), done_(std::move(done)), waiting_(front) {
  // View and buckets of one state: a snapshot that is installed meanwhile replaces both.
  waiting_ = front_.on_state(
      [this](std::shared_ptr<const member::View> view, store::Store& store) -> base::Job {
        auto work = std::make_shared<Work>(std::move(view));
        work->before = store.buckets().hash_before_key();
        work->after = store.buckets().hash_after_key();
        return [this, work = std::move(work)]() mutable {
          work_ = std::move(work);
          hash();
        };
      });
}
StateHasher::~StateHasher() = default;

void StateHasher::hash() {
  waiting_ = front_.in_slices(
      [work = work_] { return work->step(); },
      [this, work = work_] {
        waiting_ = 0;
        if (!work->hash) return done_(base::fail(status_of(mvcc::Errc::kUnreadable)));
        done_(StateHash{
            .view = work->view,
            .hash = base::crc32c_combine(*work->hash, work->after.crc, work->after.length)});
      });
}

}  // namespace keelson::api
