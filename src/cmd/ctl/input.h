// Standard input, by lines and words; and small things done to text that was typed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace keelson::cmd::ctl {

// The next line without its newline; nullopt at the end, and for a last line that has no newline.
std::optional<std::string> read_input_line();

// The next word; empty at the end.
std::string read_input_word();

// Without white space at either end.
std::string_view trim_space(std::string_view text);

// ASCII letters in capitals.
std::string upper(std::string_view text);

}  // namespace keelson::cmd::ctl
