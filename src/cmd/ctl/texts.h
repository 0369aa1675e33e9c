// Sizes and bytes as etcdctl prints them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace keelson::cmd::ctl {

// By thousands, with one decimal below 10: "25 kB", "2.1 GB".
std::string size_text(std::uint64_t bytes);
std::string base64(std::string_view bytes);

}  // namespace keelson::cmd::ctl
