// SendQueue: the bytes of one call's answer, in order, waiting for the windows to open.
//
// Messages of gRPC with their prefixes, one after the other, so that many share a DATA frame: small
// ones are copied together, large ones moved or referenced, streamed ones asked from their source
// when there is room. An empty queue keeps its first buffer for the next message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "http/grpc.h"
#include "http/output_buffer.h"

namespace keelson::http {

class SendQueue {
 public:
  enum class Compressed : char { kNo = 0, kYes = 1 };

  // One message: prefix and body.
  void add_message(std::string message, Compressed compressed);
  void add_message(std::string_view head, std::span<const base::SharedBytes> parts);
  void add_message(std::uint64_t length, std::unique_ptr<BodySource> source);

  // What became of take().
  enum class Outcome {
    kTaken,   // some bytes, or nothing is left
    kWait,    // nothing: the source at the front waits
    kFailed,  // nothing: the source at the front failed with failure(); the queue is now empty
  };
  // Moves up to `bytes_max` bytes to the end of `out`.
  Outcome take(std::size_t bytes_max, OutputBuffer& out);
  Status take_failure() { return std::move(failure_); }

  bool empty() const { return first_ == segments_.size(); }
  // Bytes held here: those a source still has do not count.
  std::size_t bytes() const { return bytes_; }
  // A part of a message has left: what follows cannot be taken for another.
  bool inside_message() const { return inside_message_; }
  void clear();

 private:
  struct Segment {
    std::string owned;
    base::SharedBytes shared;
    std::unique_ptr<BodySource> source;
    std::uint64_t left = 0;  // bytes not yet taken
    bool message_ends = false;
  };

  // Copies into one buffer up to this size; beyond it a segment is closed.
  static constexpr std::size_t kSegmentBytes = 8192;
  static constexpr std::size_t kKeptCapacityMax = 4096;

  void add_prefix(std::uint64_t length, Compressed compressed);
  void add_copy(std::string_view bytes);
  void add_owned(std::string bytes);
  void add_shared(base::SharedBytes bytes);
  Segment& open_segment();
  std::uint64_t take_front(std::uint64_t bytes_max, OutputBuffer& out);
  std::optional<Outcome> pull_front(std::size_t bytes_max, OutputBuffer& out, std::size_t& taken);
  void pop_front();

  std::vector<Segment> segments_;
  std::size_t first_ = 0;  // segments before it are spent
  std::size_t bytes_ = 0;
  bool inside_message_ = false;
  Status failure_;
};

}  // namespace keelson::http
