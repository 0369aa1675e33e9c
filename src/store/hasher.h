// The RevisionHasher over a Snapshot and pending batches: marks what it is given, a bit a record,
// then joins the checksums that the records have stored with them. It reads hash rows (8 bytes a
// record), never a record; a segment whose marks are those of the last time gives its sum at once.
#pragma once

#include <memory>
#include <vector>

#include "base/storage.h"
#include "store/snapshot.h"

namespace keelson::store {

std::unique_ptr<base::RevisionHasher> make_hasher(
    std::shared_ptr<const Snapshot> snapshot,
    std::vector<std::shared_ptr<const base::Batch>> pending);

}  // namespace keelson::store
