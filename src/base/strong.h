// Strong<T, Tag>: a number that mixes with no other number. `using Term = Strong<uint64_t, struct
// TermTag>`.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <functional>

namespace keelson::base {

template <class T, class Tag>
struct Strong {
  T value{};

  constexpr Strong() = default;
  constexpr explicit Strong(T v) : value(v) {}
  constexpr explicit operator bool() const { return value != T{}; }
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;

  template <class H>
  friend H AbslHashValue(H h, const Strong& s) {
    return H::combine(std::move(h), s.value);
  }
};

}  // namespace keelson::base

template <class T, class Tag>
struct std::hash<keelson::base::Strong<T, Tag>> {
  std::size_t operator()(const keelson::base::Strong<T, Tag>& s) const {
    return std::hash<T>{}(s.value);
  }
};

template <class T, class Tag>
struct fmt::formatter<keelson::base::Strong<T, Tag>> : fmt::formatter<T> {
  auto format(const keelson::base::Strong<T, Tag>& s, fmt::format_context& context) const {
    return fmt::formatter<T>::format(s.value, context);
  }
};
