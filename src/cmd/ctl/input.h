// Standard input, by lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace keelson::cmd::ctl {

// The next line without its newline; nullopt at the end, and for a last line that has no newline.
std::optional<std::string> read_input_line();

// Without white space at either end.
std::string_view trim_space(std::string_view text);

}  // namespace keelson::cmd::ctl
