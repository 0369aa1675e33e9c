// The server's flags: names, kinds, defaults and help. operations.md 1.6. What their values mean,
// and what may be wrong with several together, is server_config.h's.
#pragma once

#include <string>

#include "cmd/server/flags.h"

namespace keelson::cmd {

FlagSet server_flags();

// How the program is called; goes to stderr with every complaint about a flag.
std::string usage_text();

// How far a flag's feature goes here.
enum class FlagStanding {
  kThere,
  kNotYet,       // its default is accepted, any other value ends the start
  kMeaningless,  // of etcd's insides: accepted, with a warning
};
FlagStanding standing_of(std::string_view flag);

}  // namespace keelson::cmd
