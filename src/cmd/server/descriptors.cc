#include "cmd/server/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace keelson::cmd {
namespace {

constexpr std::uint64_t kReserved = 150;

// Files of a store that holds `live` bytes: collection lets dead ones lie up to 1.6 times that.
std::uint64_t segment_files(std::uint64_t live, std::uint64_t segment_bytes) {
  return live / segment_bytes * 8 / 5;
}

}  // namespace

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

std::optional<std::size_t> connections_per_listener(const DescriptorNeeds& needs) {
  if (needs.limit <= kReserved) return std::nullopt;
  const std::uint64_t left = needs.limit - kReserved;
  const std::uint64_t files =
      needs.quota_bytes < 0
          ? left / 4
          : segment_files(static_cast<std::uint64_t>(needs.quota_bytes), needs.segment_bytes);
  // A low limit is shared: half of it is for clients whatever the quota allows.
  const std::uint64_t for_clients = std::max(left - std::min(left, files), left - left / 2);
  return std::max<std::uint64_t>(for_clients / std::max<std::size_t>(needs.listeners, 1), 1);
}

}  // namespace keelson::cmd
