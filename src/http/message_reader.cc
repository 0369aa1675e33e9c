#include "http/message_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "http/gzip.h"

namespace keelson::http {
namespace {

// In grpc-go's words: the header is read before the message is.
Status gzip_status(GzipErrc errc, std::size_t bytes_max) {
  switch (errc) {
    case GzipErrc::kNothing:
      return {StatusCode::kInternal, "grpc: failed to decompress the message: EOF"};
    case GzipErrc::kHeaderCut:
      return {StatusCode::kInternal, "grpc: failed to decompress the message: unexpected EOF"};
    case GzipErrc::kHeader:
      return {StatusCode::kInternal,
              "grpc: failed to decompress the message: gzip: invalid header"};
    case GzipErrc::kCut:
      return {StatusCode::kInternal, "grpc: failed to read decompressed data: unexpected EOF"};
    case GzipErrc::kCorrupt:
      return {StatusCode::kInternal, "grpc: failed to read decompressed data: gzip: invalid data"};
    case GzipErrc::kTooLarge:
      return {
          StatusCode::kResourceExhausted,
          fmt::format("grpc: received message after decompression larger than max {}", bytes_max)};
  }
  CHECK(false);
}

}  // namespace

void MessageReader::reset(std::size_t message_bytes_max, bool gzip) {
  message_bytes_max_ = message_bytes_max;
  gzip_ = gzip;
  prefix_bytes_ = 0;
  gathered_.clear();
  if (gathered_.capacity() > 4096) gathered_ = std::string();
  view_ = {};
  owned_ = false;
}

std::size_t MessageReader::length() const {
  return std::size_t{prefix_[1]} << 24 | std::size_t{prefix_[2]} << 16 |
         std::size_t{prefix_[3]} << 8 | std::size_t{prefix_[4]};
}

base::Result<void, Status> MessageReader::check_prefix() const {
  if (length() > message_bytes_max_) {
    return base::fail(Status{StatusCode::kResourceExhausted,
                             fmt::format("grpc: received message larger than max ({} vs. {})",
                                         length(), message_bytes_max_)});
  }
  return {};
}

base::Result<bool, Status> MessageReader::read(std::string_view& bytes) {
  if (owned_) {  // the last one was handed on
    gathered_.clear();
    owned_ = false;
  }
  if (prefix_bytes_ < kPrefixBytes) {
    const std::size_t count = std::min(kPrefixBytes - prefix_bytes_, bytes.size());
    std::copy_n(bytes.data(), count, prefix_ + prefix_bytes_);
    prefix_bytes_ += count;
    bytes.remove_prefix(count);
    if (prefix_bytes_ < kPrefixBytes) return false;
    RETURN_IF_ERROR(check_prefix());
  }
  const std::size_t missing = length() - gathered_.size();
  if (gathered_.empty() && bytes.size() >= missing) {
    const std::string_view body = bytes.substr(0, missing);
    bytes.remove_prefix(missing);
    return complete(body);
  }
  const std::size_t count = std::min(missing, bytes.size());
  gathered_.append(bytes.substr(0, count));
  bytes.remove_prefix(count);
  if (count < missing) return false;
  owned_ = true;
  return complete(gathered_);
}

base::Result<bool, Status> MessageReader::complete(std::string_view body) {
  prefix_bytes_ = 0;
  const int flag = prefix_[0];
  if (flag == 0) {
    view_ = body;
    return true;
  }
  if (flag != 1) {
    return base::fail(Status{StatusCode::kInternal,
                             fmt::format("grpc: received unexpected payload format {}", flag)});
  }
  if (!gzip_) {
    return base::fail(
        Status{StatusCode::kInternal, "grpc: compressed flag set with identity or empty encoding"});
  }
  auto inflated = gunzip(body, message_bytes_max_);
  if (!inflated) return base::fail(gzip_status(inflated.error(), message_bytes_max_));
  gathered_ = *std::move(inflated);
  owned_ = true;
  view_ = gathered_;
  return true;
}

Message MessageReader::message() { return owned_ ? Message(&gathered_) : Message(view_); }

}  // namespace keelson::http
