// How the calls of this directory that may block read records back: from a RevisionReader, or
// inside a txn from what is staged, the running batch and a reader, in this order.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

using ReadFunction = std::function<void(std::span<const Revision>, std::span<base::ReadResult>)>;

// At most so many records, or about so many bytes, are asked for at a time.
inline constexpr std::size_t kReadRun = 256;
inline constexpr std::size_t kReadRunBytes = std::size_t{1} << 20;

inline ReadFunction read_from(const base::RevisionReader& reader) {
  return [&reader](std::span<const Revision> revisions, std::span<base::ReadResult> out) {
    reader.read(revisions, out);
  };
}

// All of `revisions`, or kUnreadable.
inline base::Result<std::vector<base::SharedBytes>, Errc> read_all(
    const ReadFunction& read, std::span<const Revision> revisions) {
  std::vector<base::ReadResult> results(revisions.size());
  read(revisions, results);
  std::vector<base::SharedBytes> bytes;
  bytes.reserve(results.size());
  for (auto& result : results) {
    if (result.state != base::ReadResult::State::kBytes) return base::fail(Errc::kUnreadable);
    bytes.push_back(std::move(result.bytes));
  }
  return bytes;
}

}  // namespace keelson::mvcc
