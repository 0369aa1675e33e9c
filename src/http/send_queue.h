// SendQueue: the bytes of one call's answer, in order, waiting for the windows to open.
//
// Messages of gRPC with their prefixes, one after the other, so that many share a DATA frame: small
// ones are copied together, large ones moved or referenced, streamed ones asked from their source
// when there is room. An empty queue keeps a little room for the next message.
//
// What is shared by many calls (events) is referenced from a smaller size on than what goes to the
// socket by reference: so it is copied once for each call, when it leaves, and not twice.
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

  bool empty() const { return first_ == parts_.size(); }
  // Bytes held here: those a source still has do not count.
  std::size_t bytes() const { return bytes_; }
  // A part of a message has left: what follows cannot be taken for another.
  bool inside_message() const { return inside_message_; }
  void clear();

 private:
  // Some bytes of copied_, then what is not copied: shared bytes, a source's, or nothing.
  struct Part {
    std::uint64_t copied = 0;  // bytes not yet taken
    std::uint64_t left = 0;    // likewise, of what is not copied
    base::SharedBytes shared;
    std::unique_ptr<BodySource> source;
    bool message_ends = false;
  };

  // A reference (its count, one more part) is cheaper than a copy from here on.
  static constexpr std::size_t kSharedBytesMin = 512;
  // Of taken bytes before they are cut off, and of the room that an empty queue keeps.
  static constexpr std::size_t kTakenBytesMax = 8192;
  static constexpr std::size_t kKeptBytesMax = 4096;

  void add_prefix(std::uint64_t length, Compressed compressed);
  void add_copy(std::string_view bytes);
  void add_shared(base::SharedBytes bytes);
  Part& open_part();
  std::uint64_t take_copied(Part& part, std::uint64_t bytes_max, OutputBuffer& out);
  std::uint64_t take_shared(Part& part, std::uint64_t bytes_max, OutputBuffer& out);
  std::optional<Outcome> pull(Part& part, std::size_t bytes_max, OutputBuffer& out,
                              std::size_t& taken);
  void pop_front();

  std::vector<Part> parts_;
  std::size_t first_ = 0;  // parts before it are spent
  std::string copied_;
  std::size_t copied_at_ = 0;  // what lies before it was taken
  std::size_t bytes_ = 0;
  bool inside_message_ = false;
  Status failure_;
};

}  // namespace keelson::http
