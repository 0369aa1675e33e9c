// Text in double quotes as Go's %q prints it: what etcd's error texts are made of.

#pragma once

#include <span>
#include <string>
#include <string_view>

namespace keelson::membership {

std::string go_quote(std::string_view text);
// ["a" "b"], as %q prints a list.
std::string go_quote(std::span<const std::string> texts);

}  // namespace keelson::membership
