// gRPC's framing and the texts of its headers: what comes in pieces gives what comes whole, and
// what is written comes back as it was.

#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz/input.h"
#include "http/grpc_wire.h"
#include "http/gzip.h"
#include "http/message_reader.h"

namespace keelson::fuzz {
namespace {

constexpr std::size_t kMessageBytesMax = 4096;

// The messages, then the error, if there was one.
std::vector<std::string> read_all(std::string_view bytes, std::size_t step, bool gzip) {
  http::MessageReader reader;
  reader.reset(kMessageBytesMax, gzip);
  std::vector<std::string> out;
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    while (!piece.empty()) {
      auto whole = reader.read(piece);
      if (!whole) {
        out.push_back("error " + whole.error().message);
        return out;
      }
      if (*whole) out.push_back(std::move(reader.message()).take());
      CHECK_LE(reader.held_bytes(), kMessageBytesMax);
    }
  }
  return out;
}

void read_texts(std::string_view text) {
  if (const auto timeout = http::parse_timeout(text)) {
    const auto again = http::parse_timeout(http::format_timeout(*timeout));
    CHECK(again.ok());
    CHECK(*again >= *timeout);
  }
  MAYBE(http::content_subtype(text).has_value());
  MAYBE(http::valid_header_name(text));
  CHECK(http::valid_header_value(http::encode_grpc_message(text)));
  MAYBE(http::decode_grpc_message(text).empty());
  CHECK(*http::decode_binary_header(http::encode_binary_header(text)) == text);
  MAYBE(http::decode_binary_header(text).ok());
}

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace keelson;
  fuzz::Input input(data, size);
  const bool gzip = input.byte() & 1;
  const std::size_t step = std::size_t{input.byte()} + 1;
  const std::string_view bytes = input.rest();
  CHECK(fuzz::read_all(bytes, step, gzip) == fuzz::read_all(bytes, bytes.size() + 1, gzip));
  fuzz::read_texts(bytes);
  CHECK(*http::gunzip(http::gzip(bytes), bytes.size()) == bytes);
  return 0;
}
