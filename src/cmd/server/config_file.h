// --config-file: YAML, or JSON, which is YAML. operations.md 1.3.
//
// Keys are the names of flags, whatever their case; unknown ones are ignored, as are null and what
// etcd cannot set by file. Types are those of etcd's own struct: a duration is a whole number of
// nanoseconds, a list of URLs is one text, log-outputs and cipher-suites are lists, TLS, discovery
// and socket options are maps. What is not of its type ends the start in the words of Go's decoder.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cmd/server/flags.h"

namespace keelson::cmd {

struct ConfigFileError {
  std::string text;
  bool url_list = false;  // etcd says these on stderr, outside its log
};

// The values of a file's text: the defaults, and over them what it says.
base::Result<FlagValues, ConfigFileError> parse_config_file(const FlagSet& flags,
                                                            std::string_view text);
// The same for a file.
base::Result<FlagValues, ConfigFileError> read_config_file(const FlagSet& flags,
                                                           const std::string& path);

}  // namespace keelson::cmd
