// gzip of whole messages, by zlib.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace keelson::http {

enum class GzipErrc {
  kNothing,    // no bytes at all
  kHeaderCut,  // it ends within the first member's header
  kHeader,     // the first member's header is not gzip's
  kCut,        // it ends later, within a member
  kCorrupt,    // the data, its checksum or a later header is wrong
  kTooLarge,   // more than the limit would come out; memory never exceeds it
};

// All members of `bytes`, at most `bytes_max` of output.
base::Result<std::string, GzipErrc> gunzip(std::string_view bytes, std::size_t bytes_max);
std::string gzip(std::string_view bytes);

}  // namespace keelson::http
