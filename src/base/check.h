// Assertions that stay on in release builds. One fact per CHECK; a failure prints it and aborts.
//
// CHECK is for our own bugs only: what a client, a peer or the disk can cause is a Result
// (result.h).
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace keelson::base {

// Prints "file:line: what" to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, std::string_view what);

}  // namespace keelson::base

#define CHECK(condition)                             \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::keelson::base::check_failed(__FILE__, __LINE__, "CHECK " #condition))

// CHECK with values in the message: CHECK_MSG(a < b, "a={} b={}", a, b).
#define CHECK_MSG(condition, ...)                          \
  (__builtin_expect(static_cast<bool>(condition), 1)       \
       ? static_cast<void>(0)                              \
       : ::keelson::base::check_failed(__FILE__, __LINE__, \
                                       "CHECK " #condition ": " + ::fmt::format(__VA_ARGS__)))

#define CHECK_OP_(a, op, b)                                               \
  do {                                                                    \
    const auto& check_a_ = (a);                                           \
    const auto& check_b_ = (b);                                           \
    CHECK_MSG(check_a_ op check_b_, "{} " #op " {}", check_a_, check_b_); \
  } while (false)
#define CHECK_EQ(a, b) CHECK_OP_(a, ==, b)
#define CHECK_LE(a, b) CHECK_OP_(a, <=, b)
#define CHECK_LT(a, b) CHECK_OP_(a, <, b)
#define CHECK_GE(a, b) CHECK_OP_(a, >=, b)
#define CHECK_GT(a, b) CHECK_OP_(a, >, b)

// Says that both answers are legal here; reads as documentation and costs nothing.
#define MAYBE(condition) static_cast<void>(condition)
