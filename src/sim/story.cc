#include "sim/story.h"

#include <cstdio>

#include "base/crc32c.h"

namespace keelson::sim {

void Story::add(std::string_view who, std::string what) {
  const auto since = clock_->now().time_since_epoch();
  std::string line =
      fmt::format("{:>14.6f} {:<8} {}", std::chrono::duration<double>(since).count(), who, what);
  lines_++;
  hash_ = (hash_ ^ base::crc32c(0, line)) * 0x9E3779B97F4A7C15u;
  hash_ ^= hash_ >> 31;
  if (aloud_) std::fprintf(stderr, "%s\n", line.c_str());
  kept_.push_back(std::move(line));
  if (kept_.size() > keep_) kept_.pop_front();
}

std::string Story::tail() const {
  std::string out;
  for (const std::string& line : kept_) out += line + "\n";
  return out;
}

}  // namespace keelson::sim
