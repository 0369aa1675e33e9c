// The texts inside gRPC's headers: timeouts, percent-encoded messages, binary metadata, content
// types.
//
// Pure functions. Refusals carry the words of grpc-go, which clients see (grpc.md 3).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace keelson::http {

// "100m", "5S": one to eight digits and a unit of H M S m u n. The error is the reason.
base::Result<base::Duration, std::string> parse_timeout(std::string_view text);
// The shortest exact form that fits eight digits, rounded up to a coarser unit where none does.
std::string format_timeout(base::Duration timeout);

// grpc-message: what is outside 0x20-0x7E, and '%', becomes %XX; bytes that are no UTF-8 become
// U+FFFD. At most kGrpcMessageBytesMax are kept, so that a header block always fits.
inline constexpr std::size_t kGrpcMessageBytesMax = 16 << 10;
std::string encode_grpc_message(std::string_view message);
// The reverse; a broken escape stays as it is.
std::string decode_grpc_message(std::string_view text);

// Base64 with or without padding, as `-bin` headers have it. The error is the reason.
base::Result<std::string, std::string> decode_binary_header(std::string_view text);
std::string encode_binary_header(std::string_view bytes);

// "proto" of "application/grpc+proto", "" of "application/grpc", nullopt of what is no gRPC.
std::optional<std::string_view> content_subtype(std::string_view content_type);

// Of HTTP/2 as it goes over the wire: lower-case token; no control characters.
bool valid_header_name(std::string_view name);
bool valid_header_value(std::string_view value);

}  // namespace keelson::http
