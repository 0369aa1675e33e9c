// Result<T, E>: a value or an error that must be looked at.
//
// A thin [[nodiscard]] class over std::expected, which alone may be dropped silently. E is a closed
// enum of the core that speaks (mvcc::Errc, ...) where the protocol foresees the answer, and Error
// (below) where the world failed and the caller can go on. Doubt about durability is no Result: the
// process stops.
#pragma once

#include <expected>
#include <string>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace keelson::base {

// What the outside world refused, and what was being done then ("open /data/x.wal").
struct Error {
  std::error_code code;
  std::string context;

  // "open /data/x.wal: Permission denied"
  std::string message() const;
};

// An Error of `std::errc` or of the current errno.
Error make_error(std::errc code, std::string context);
Error errno_error(int error_number, std::string context);

template <class T = void, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result()
    requires std::is_void_v<T>
  = default;
  template <class U = T>
    requires(!std::is_void_v<T> && std::is_constructible_v<T, U> &&
             !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, std::unexpected<E>>)
  Result(U&& value) : expected_(std::in_place, std::forward<U>(value)) {}  // NOLINT: implicit
  template <class G>
  Result(std::unexpected<G> error) : expected_(std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return expected_.has_value(); }
  explicit operator bool() const { return ok(); }

  decltype(auto) value() & {
    CHECK(ok());
    return *expected_;
  }
  decltype(auto) value() const& {
    CHECK(ok());
    return *expected_;
  }
  decltype(auto) value() && {
    CHECK(ok());
    return *std::move(expected_);
  }
  decltype(auto) operator*() & { return value(); }
  decltype(auto) operator*() const& { return value(); }
  decltype(auto) operator*() && { return std::move(*this).value(); }
  auto operator->() { return &value(); }
  auto operator->() const { return &value(); }

  const E& error() const& {
    CHECK(!ok());
    return expected_.error();
  }
  E&& error() && {
    CHECK(!ok());
    return std::move(expected_).error();
  }

 private:
  std::expected<T, E> expected_;
};

// return fail(Errc::kCompacted);
template <class E>
std::unexpected<std::decay_t<E>> fail(E&& error) {
  return std::unexpected<std::decay_t<E>>(std::forward<E>(error));
}

}  // namespace keelson::base

#define KEELSON_CONCAT_(a, b) a##b
#define KEELSON_CONCAT(a, b) KEELSON_CONCAT_(a, b)

// RETURN_IF_ERROR(call()); passes the error up unchanged.
#define RETURN_IF_ERROR(...)                                    \
  do {                                                          \
    if (auto result_ = (__VA_ARGS__); !result_)                 \
      return ::keelson::base::fail(std::move(result_).error()); \
  } while (false)

// ASSIGN_OR_RETURN(auto file, open(path));
#define ASSIGN_OR_RETURN(declaration, ...) \
  ASSIGN_OR_RETURN_(KEELSON_CONCAT(assign_result_, __LINE__), declaration, __VA_ARGS__)
#define ASSIGN_OR_RETURN_(temporary, declaration, ...)                        \
  auto temporary = (__VA_ARGS__);                                             \
  if (!temporary) return ::keelson::base::fail(std::move(temporary).error()); \
  declaration = *std::move(temporary)
