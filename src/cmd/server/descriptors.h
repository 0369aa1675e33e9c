// Descriptors: how many the process may open, and how many of them clients may have.
//
// What the log and the store cannot open stops the process (durability is in doubt), so clients
// must never get the last ones: a part is kept back for files and peers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace keelson::cmd {

// Raises the soft limit to the hard one, as Go's runtime does for etcd, and says what it is then. A
// shell's 1024 is no limit for a server.
std::uint64_t raise_descriptor_limit();

struct DescriptorNeeds {
  std::uint64_t limit = 0;
  std::int64_t quota_bytes = 0;     // of the store; negative: none
  std::uint64_t segment_bytes = 1;  // a file for each, while there is a quota's worth of data
  std::size_t listeners = 1;        // that share what clients may have
};
// Connections a listener may have open at a time; nullopt: the limit leaves none.
// operations.md 3.1, but for the files of a large store, which etcd does not have.
std::optional<std::size_t> connections_per_listener(const DescriptorNeeds& needs);

}  // namespace keelson::cmd
