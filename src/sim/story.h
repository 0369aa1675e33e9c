// Story: what happened in a run, told line by line as it happens.
//
// Every line goes into a running hash, so that two runs of one seed can be compared whole; the last
// ones are kept for whoever has to read how a run failed.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "env/clock.h"

namespace keelson::sim {

class Story {
 public:
  // `clock` dates the lines, `keep` is how many are kept. `aloud` also prints each to stderr.
  Story(const env::Clock* clock, std::size_t keep, bool aloud)
      : clock_(clock), keep_(keep), aloud_(aloud) {}

  template <class... Args>
  void tell(std::string_view who, fmt::format_string<Args...> format, Args&&... args) {
    add(who, fmt::format(format, std::forward<Args>(args)...));
  }
  void add(std::string_view who, std::string what);

  std::uint64_t hash() const { return hash_; }
  std::uint64_t lines() const { return lines_; }
  // The last lines, oldest first.
  std::string tail() const;

 private:
  const env::Clock* clock_;
  const std::size_t keep_;
  const bool aloud_;
  std::deque<std::string> kept_;
  std::uint64_t hash_ = 0;
  std::uint64_t lines_ = 0;
};

}  // namespace keelson::sim
