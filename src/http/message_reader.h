// MessageReader: gRPC messages out of the pieces a stream brings.
//
// A message that comes whole in one piece is handed on as a view of it; one in several is gathered.
// The buffer grows with what has come, never with what a prefix announces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/grpc.h"

namespace keelson::http {

class MessageReader {
 public:
  // Ready for a stream with these terms. `gzip`: prefix flag 1 means a gzip message.
  void reset(std::size_t message_bytes_max, bool gzip);

  // Takes bytes off the front of `bytes` until a message is whole or nothing is left. Says whether
  // one is: then message() has it until the next call, and its view may point into what `bytes`
  // was. On an error (too large, flags, inflating: grpc.md 3) nothing more can be read.
  base::Result<bool, Status> read(std::string_view& bytes);
  Message message();

  // Between two messages.
  bool at_boundary() const { return prefix_bytes_ == 0; }
  // Some of a prefix was read, not all of it.
  bool in_prefix() const { return prefix_bytes_ > 0 && prefix_bytes_ < kPrefixBytes; }
  // Gathered so far.
  std::size_t held_bytes() const { return gathered_.size(); }

 private:
  static constexpr std::size_t kPrefixBytes = 5;

  base::Result<void, Status> check_prefix() const;
  base::Result<bool, Status> complete(std::string_view body);
  std::size_t length() const;

  std::size_t message_bytes_max_ = 0;
  bool gzip_ = false;
  unsigned char prefix_[kPrefixBytes] = {};
  std::size_t prefix_bytes_ = 0;
  std::string gathered_;
  std::string_view view_;
  bool owned_ = false;  // the message lies in gathered_
};

}  // namespace keelson::http
