// Marks: chosen records of one segment or batch, a bit each.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace keelson::store {

class Marks {
 public:
  // One of `count` records.
  void set(std::size_t place, std::size_t count) {
    words_.resize((count + 63) / 64);
    words_[place / 64] |= std::uint64_t{1} << (place % 64);
  }
  template <class Visit>
  void each(const Visit& visit) const {
    for (std::size_t i = 0; i < words_.size(); i++) {
      for (std::uint64_t word = words_[i]; word != 0; word &= word - 1) {
        visit(i * 64 + static_cast<std::size_t>(std::countr_zero(word)));
      }
    }
  }
  // The first one at or behind `place`; npos if there is none.
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
  std::size_t next(std::size_t place) const {
    for (std::size_t i = place / 64; i < words_.size(); i++) {
      const std::uint64_t passed = i == place / 64 ? (std::uint64_t{1} << (place % 64)) - 1 : 0;
      if (const std::uint64_t word = words_[i] & ~passed; word != 0) {
        return i * 64 + static_cast<std::size_t>(std::countr_zero(word));
      }
    }
    return npos;
  }
  bool none() const { return words_.empty(); }
  const std::vector<std::uint64_t>& words() const { return words_; }

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace keelson::store
