#include "mvcc/read_txn.h"

namespace keelson::mvcc {

base::Result<TxnResult, Errc> read_only_txn(const View& view,
                                            const etcdserverpb::TxnRequest& request,
                                            const base::RevisionReader& reader,
                                            std::size_t memory_budget) {
  ASSIGN_OR_RETURN(const bool succeeded, compares_hold(view, request.compare(), reader));
  const auto& branch = succeeded ? request.success() : request.failure();
  for (const auto& operation : branch) {
    CHECK(operation.has_request_range());
    const std::int64_t revision = operation.request_range().revision();
    if (revision == 0) continue;
    if (revision > view.revision) return base::fail(Errc::kFutureRevision);
    if (revision < view.compact_revision) return base::fail(Errc::kCompacted);
  }
  TxnResult result{.revision = view.revision, .succeeded = succeeded, .responses = {}};
  for (const auto& operation : branch) {
    ASSIGN_OR_RETURN(RangeResult one,
                     range(view, operation.request_range(), reader, memory_budget));
    for (const base::SharedBytes& kv : one.kvs) {
      if (kv.size() > memory_budget) return base::fail(Errc::kTooMuchMemory);
      memory_budget -= kv.size();
    }
    result.responses.emplace_back(std::move(one));
  }
  return result;
}

}  // namespace keelson::mvcc
