#include "http/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace keelson::http {
namespace {

constexpr int kGzipWindowBits = 15 + 16;  // zlib's way to say: gzip, largest window
constexpr std::size_t kStepBytesMax = std::numeric_limits<uInt>::max();

void give(z_stream& stream, std::string_view& bytes) {
  const std::size_t step = std::min(bytes.size(), kStepBytesMax);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(step);
  bytes.remove_prefix(step);
}

}  // namespace

base::Result<std::string, GzipErrc> gunzip(std::string_view bytes, std::size_t bytes_max) {
  if (bytes.empty()) return base::fail(GzipErrc::kNothing);
  z_stream stream{};
  CHECK_EQ(inflateInit2(&stream, kGzipWindowBits), Z_OK);
  gz_header header{};  // done: 1 once the first member's is read
  CHECK_EQ(inflateGetHeader(&stream, &header), Z_OK);
  std::string out;
  char block[16 << 10];
  bool member_open = true;
  base::Result<std::string, GzipErrc> result = base::fail(GzipErrc::kCorrupt);
  while (true) {
    if (stream.avail_in == 0) give(stream, bytes);
    const bool input_over = stream.avail_in == 0;
    if (input_over && !member_open) {
      result = std::move(out);
      break;
    }
    if (!member_open) {
      inflateReset(&stream);  // another member follows
      member_open = true;
    }
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = sizeof block;
    const int rv = inflate(&stream, Z_NO_FLUSH);
    const std::size_t made = sizeof block - stream.avail_out;
    if (rv == Z_BUF_ERROR || (rv == Z_OK && made == 0 && input_over)) {
      result = base::fail(header.done == 1 ? GzipErrc::kCut : GzipErrc::kHeaderCut);
      break;
    }
    if (rv != Z_OK && rv != Z_STREAM_END) {
      result = base::fail(header.done == 1 ? GzipErrc::kCorrupt : GzipErrc::kHeader);
      break;
    }
    if (made > bytes_max - out.size()) {
      result = base::fail(GzipErrc::kTooLarge);
      break;
    }
    out.append(block, made);
    if (rv == Z_STREAM_END) member_open = false;
  }
  inflateEnd(&stream);
  return result;
}

std::string gzip(std::string_view bytes) {
  z_stream stream{};
  CHECK_EQ(deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8,
                        Z_DEFAULT_STRATEGY),
           Z_OK);
  std::string out;
  char block[16 << 10];
  int rv = Z_OK;
  while (rv != Z_STREAM_END) {
    if (stream.avail_in == 0) give(stream, bytes);
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = sizeof block;
    rv = deflate(&stream, bytes.empty() ? Z_FINISH : Z_NO_FLUSH);
    CHECK(rv == Z_OK || rv == Z_STREAM_END || rv == Z_BUF_ERROR);
    out.append(block, sizeof block - stream.avail_out);
  }
  deflateEnd(&stream);
  return out;
}

}  // namespace keelson::http
