// The two encodings of streams: messages to bytes and back. Pure. formats.md 6.4.
//
// message stream     { size u64; message }*            link heartbeat: a kHeartbeat from and to
// nobody
//
// msgapp stream      { type u8; ... }*                 ("msgappv2": of kApp alone)
//   type 0           nothing: a link heartbeat
//   type 1           count u64; count x { size u64; entry }; commit u64
//   type 2           size u64; message
//   Both ends remember the term of the last message and the index of its last entry, (0, 0) in the
//   beginning. A message that goes on from there in its own term travels as type 1, without what
//   the reader knows.
//
// Numbers are big endian; messages and entries are raft/wire.h's.
//
//   00 00 00 00 00 00 00 02  08 08                     message: a link heartbeat
//   02  00 .. 04  08 03 20 01                          msgapp: {kApp, term 1}, whole
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "raft/types.h"

namespace keelson::peer {

enum class StreamKind : std::uint8_t { kMsgApp, kMessage };
// "msgapp", "message": the last but one part of its path.
std::string_view path_name(StreamKind kind);
// "stream MsgApp v2", "stream Message": in log lines.
std::string_view log_name(StreamKind kind);

// Bytes made of messages, gathered to be written together: small ones are copied one after the
// other, the payload of large entries is referenced.
class FrameBuffer {
 public:
  // From here on a reference is cheaper than a copy.
  static constexpr std::size_t kReferenceBytesMin = 4096;

  void put_u8(std::uint8_t value) { tail_ += static_cast<char>(value); }
  void put_u64(std::uint64_t value);
  // For about so much, before it is put.
  void make_room(std::size_t bytes);
  // To append to; what is there stays.
  std::string& tail() { return tail_; }
  void put(const base::SharedBytes& bytes);

  bool empty() const { return pieces_.empty() && tail_.empty(); }
  std::size_t size() const;
  // All of it, and empty again.
  std::vector<base::SharedBytes> take();

 private:
  void seal();

  std::vector<base::SharedBytes> pieces_;
  std::size_t pieces_bytes_ = 0;
  std::string tail_;  // comes after pieces_
};

// The writing end of one connection.
class StreamEncoder {
 public:
  explicit StreamEncoder(StreamKind kind) : kind_(kind) {}
  // Only kApp for kMsgApp.
  void put(const raft::Message& message, FrameBuffer& out);
  void put_heartbeat(FrameBuffer& out) const;

 private:
  void put_entries(const raft::Message& message, FrameBuffer& out);
  static void put_whole(const raft::Message& message, FrameBuffer& out);

  StreamKind kind_;
  raft::Term term_ = 0;
  raft::Index index_ = 0;
};

class MessageSink {
 public:
  virtual void on_message(raft::Message message) = 0;

 protected:
  ~MessageSink() = default;
};

enum class DecodeErrc : std::uint8_t {
  kTooLarge,     // a message of more bytes than is allowed
  kMalformed,    // a message or entry that is none
  kUnknownType,  // of a msgapp frame
};
std::string_view describe(DecodeErrc errc);

// The reading end of one connection. What it holds grows with the bytes that came, never with a
// length that was promised. After an error it is of no use any more.
class StreamDecoder {
 public:
  // A type 1 message is `from` the remote end `to` this one; no message is beyond `bytes_max`, each
  // entry counting some bytes more than it has.
  StreamDecoder(StreamKind kind, raft::NodeId from, raft::NodeId to, std::uint64_t bytes_max)
      : kind_(kind), from_(from), to_(to), bytes_max_(bytes_max), at_(begin()) {}

  // The next bytes, cut anywhere. Gives what is whole to `sink`; link heartbeats are left out.
  base::Result<void, DecodeErrc> feed(std::string_view bytes, MessageSink& sink);
  // Nothing of a message has come that is not whole.
  bool between_messages() const { return at_ == begin() && gathered_.empty(); }

 private:
  enum class At : std::uint8_t {
    kType,
    kMessageSize,
    kMessage,
    kCount,
    kEntrySize,
    kEntry,
    kCommit
  };

  At begin() const { return kind_ == StreamKind::kMsgApp ? At::kType : At::kMessageSize; }
  std::uint64_t wanted() const;
  void gather(std::string_view bytes);
  base::Result<void, DecodeErrc> take(std::string_view rest, MessageSink& sink);
  base::Result<void, DecodeErrc> take_type(std::uint8_t type);
  base::Result<void, DecodeErrc> take_number(std::uint64_t number, MessageSink& sink);
  base::Result<void, DecodeErrc> take_size(std::uint64_t size, At next);
  base::Result<void, DecodeErrc> take_message(const base::SharedBytes& bytes, MessageSink& sink);
  base::Result<void, DecodeErrc> take_entry(const base::SharedBytes& bytes);
  void begin_entries(std::uint64_t count);
  void finish_entries(raft::Index commit, MessageSink& sink);

  const StreamKind kind_;
  const raft::NodeId from_;
  const raft::NodeId to_;
  const std::uint64_t bytes_max_;

  At at_;
  std::uint64_t size_ = 0;     // of the message or entry that comes
  std::string gathered_;       // of the field that comes, if it is cut
  raft::Message entries_;      // the type 1 message that comes
  std::uint64_t missing_ = 0;  // entries of it
  std::uint64_t counted_ = 0;  // bytes of it
  raft::Term term_ = 0;        // as the encoder's
  raft::Index index_ = 0;
};

}  // namespace keelson::peer
