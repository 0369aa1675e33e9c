// What --version says: which etcd this server stands in for, in the four lines that tools read, and
// what it is itself.
#pragma once

#include <string>
#include <string_view>

namespace keelson::cmd {

inline constexpr std::string_view kGitSha = "Not provided";
// In the place of etcd's Go version.
inline constexpr std::string_view kRuntime = "keelson 0.1.0, clang " __clang_version__;
inline constexpr std::string_view kOs = "linux";
#if defined(__x86_64__)
inline constexpr std::string_view kArchitecture = "amd64";
#elif defined(__aarch64__)
inline constexpr std::string_view kArchitecture = "arm64";
#else
inline constexpr std::string_view kArchitecture = "unknown";
#endif

std::string version_lines();

}  // namespace keelson::cmd
