// A bare HTTP/2 client for tests: frames go out as they are told, what comes back is told as text.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/grpc.h"

namespace keelson::http::fake {

struct Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::int32_t stream = 0;
  std::string payload;
  std::vector<std::pair<std::string, std::string>> fields;  // of HEADERS

  bool end() const { return (flags & NGHTTP2_FLAG_END_STREAM) != 0 && type <= NGHTTP2_HEADERS; }
};

using Fields = std::vector<std::pair<std::string, std::string>>;

std::string frame_bytes(std::uint8_t type, std::uint8_t flags, std::int32_t stream,
                        std::string_view payload);
std::string grpc_message(std::string_view body, char flag = 0);
std::string big_endian(std::uint32_t value);

class RawClient {
 public:
  RawClient();
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  static std::string preface();  // with empty SETTINGS
  std::string headers(std::int32_t stream, const Fields& fields, bool end);
  static std::string data(std::int32_t stream, std::string_view payload, bool end);
  static std::string reset(std::int32_t stream, std::uint32_t code);
  static std::string window(std::int32_t stream, std::uint32_t bytes);
  static std::string ping(std::string_view payload, bool ack = false);

  // The whole frames among what came so far.
  std::vector<Frame> receive(std::string_view bytes);

 private:
  Fields inflate(std::string_view block);

  nghttp2_hd_deflater* deflater_ = nullptr;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string partial_;
};

// "HEADERS 1 end :status=200 grpc-status=0", "DATA 1 12", "RST_STREAM 1 CANCEL".
std::string describe(const Frame& frame);

}  // namespace keelson::http::fake
