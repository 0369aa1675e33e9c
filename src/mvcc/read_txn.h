// A txn that only reads, answered from one View without going through the log. api.md 2.7.
#pragma once

#include "base/result.h"
#include "mvcc/range.h"
#include "mvcc/state.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

// Every operation of both branches is a range (CHECKed). The same checks and results as State::txn
// has for it. May block in `reader`; all ranges together gather at most `memory_budget` bytes, else
// kTooMuchMemory.
base::Result<TxnResult, Errc> read_only_txn(const View& view,
                                            const etcdserverpb::TxnRequest& request,
                                            const base::RevisionReader& reader,
                                            std::size_t memory_budget);

}  // namespace keelson::mvcc
