#include "peer/stream_codec.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

constexpr std::uint8_t kLinkHeartbeat = 0;
constexpr std::uint8_t kAppEntries = 1;
constexpr std::uint8_t kWhole = 2;

// What an entry costs besides its bytes.
constexpr std::uint64_t kEntryOverhead = sizeof(raft::Entry);
// So much room is made for a field that is cut before more of it has come.
constexpr std::uint64_t kReserve = std::uint64_t{64} << 10;
// So many entries of a message, likewise.
constexpr std::uint64_t kReserveEntries = 64;
// One piece of copied bytes.
constexpr std::size_t kTailBytesMax = std::size_t{64} << 10;

std::uint64_t read_u64(std::string_view bytes) {
  CHECK_EQ(bytes.size(), 8u);
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<std::uint8_t>(byte);
  return value;
}

bool is_link_heartbeat(const raft::Message& message) {
  return message.type == raft::MessageType::kHeartbeat && message.from == raft::kNone &&
         message.to == raft::kNone;
}

raft::Index last_index(const raft::Message& message) {
  return message.entries.empty() ? message.index : message.entries.back().index;
}

}  // namespace

std::string_view path_name(StreamKind kind) {
  return kind == StreamKind::kMsgApp ? "msgapp" : "message";
}
std::string_view log_name(StreamKind kind) {
  return kind == StreamKind::kMsgApp ? "stream MsgApp v2" : "stream Message";
}
std::string_view describe(DecodeErrc errc) {
  switch (errc) {
    case DecodeErrc::kTooLarge:
      return "rafthttp: error limit exceeded";
    case DecodeErrc::kMalformed:
      return "malformed raft message";
    case DecodeErrc::kUnknownType:
      return "failed to parse type in msgappv2 stream";
  }
  return "?";
}

// --- FrameBuffer

void FrameBuffer::put_u64(std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) tail_ += static_cast<char>(value >> shift);
}

void FrameBuffer::make_room(std::size_t bytes) { tail_.reserve(std::min(bytes, kTailBytesMax)); }

void FrameBuffer::put(const base::SharedBytes& bytes) {
  if (bytes.size() < kReferenceBytesMin) {
    tail_.append(bytes.view());
    if (tail_.size() >= kTailBytesMax) seal();
    return;
  }
  seal();
  pieces_.push_back(bytes);
  pieces_bytes_ += bytes.size();
}

std::size_t FrameBuffer::size() const { return pieces_bytes_ + tail_.size(); }

void FrameBuffer::seal() {
  if (tail_.empty()) return;
  pieces_bytes_ += tail_.size();
  pieces_.emplace_back(std::exchange(tail_, {}));
}

std::vector<base::SharedBytes> FrameBuffer::take() {
  seal();
  pieces_bytes_ = 0;
  return std::exchange(pieces_, {});
}

// --- StreamEncoder

void StreamEncoder::put(const raft::Message& message, FrameBuffer& out) {
  if (kind_ == StreamKind::kMessage) return put_whole(message, out);
  CHECK(message.type == raft::MessageType::kApp);
  const bool goes_on =
      index_ == message.index && term_ == message.log_term && message.log_term == message.term;
  if (goes_on) return put_entries(message, out);
  out.put_u8(kWhole);
  put_whole(message, out);
  term_ = message.term;
  index_ = last_index(message);
}

void StreamEncoder::put_heartbeat(FrameBuffer& out) const {
  if (kind_ == StreamKind::kMsgApp) return out.put_u8(kLinkHeartbeat);
  put_whole({.type = raft::MessageType::kHeartbeat}, out);
}

void StreamEncoder::put_entries(const raft::Message& message, FrameBuffer& out) {
  out.put_u8(kAppEntries);
  out.put_u64(message.entries.size());
  for (const raft::Entry& entry : message.entries) {
    out.put_u64(raft::encoded_size(entry));
    raft::encode_head(entry, out.tail());
    out.put(entry.data);
  }
  out.put_u64(message.commit);
  index_ += message.entries.size();
}

void StreamEncoder::put_whole(const raft::Message& message, FrameBuffer& out) {
  const std::size_t size = raft::encoded_size(message);
  out.put_u64(size);
  if (size < FrameBuffer::kReferenceBytesMin) return raft::encode(message, out.tail());
  std::string bytes;
  bytes.reserve(size);
  raft::encode(message, bytes);
  out.put(base::SharedBytes(std::move(bytes)));
}

// --- StreamDecoder

base::Result<void, DecodeErrc> StreamDecoder::feed(std::string_view bytes, MessageSink& sink) {
  while (wanted() - gathered_.size() <= bytes.size()) {
    const auto rest = bytes.substr(0, static_cast<std::size_t>(wanted() - gathered_.size()));
    bytes.remove_prefix(rest.size());
    RETURN_IF_ERROR(take(rest, sink));
  }
  gather(bytes);
  return {};
}

// Never more room than the field has bytes, nor much more than came.
void StreamDecoder::gather(std::string_view bytes) {
  const std::size_t size = gathered_.size() + bytes.size();
  if (size > gathered_.capacity()) {
    const std::uint64_t room = std::max<std::uint64_t>({size, 2 * gathered_.capacity(), kReserve});
    gathered_.reserve(static_cast<std::size_t>(std::min(wanted(), room)));
  }
  gathered_.append(bytes);
}

std::uint64_t StreamDecoder::wanted() const {
  switch (at_) {
    case At::kType:
      return 1;
    case At::kMessage:
    case At::kEntry:
      return size_;
    case At::kMessageSize:
    case At::kCount:
    case At::kEntrySize:
    case At::kCommit:
      return 8;
  }
  return 0;
}

// The field that comes ends with `rest`; what came before is gathered.
base::Result<void, DecodeErrc> StreamDecoder::take(std::string_view rest, MessageSink& sink) {
  if (at_ == At::kMessage || at_ == At::kEntry) {
    if (!gathered_.empty()) gather(rest);
    const base::SharedBytes field = gathered_.empty()
                                        ? base::SharedBytes::copy_of(rest)
                                        : base::SharedBytes(std::exchange(gathered_, {}));
    return at_ == At::kMessage ? take_message(field, sink) : take_entry(field);
  }
  gathered_.append(rest);
  const std::string field = std::exchange(gathered_, {});
  if (at_ == At::kType) return take_type(static_cast<std::uint8_t>(field.front()));
  return take_number(read_u64(field), sink);
}

base::Result<void, DecodeErrc> StreamDecoder::take_number(std::uint64_t number, MessageSink& sink) {
  switch (at_) {
    case At::kMessageSize:
      counted_ = 0;
      return take_size(number, At::kMessage);
    case At::kCount:
      begin_entries(number);
      return {};
    case At::kEntrySize:
      return take_size(number, At::kEntry);
    default:
      finish_entries(number, sink);
      return {};
  }
}

base::Result<void, DecodeErrc> StreamDecoder::take_type(std::uint8_t type) {
  switch (type) {
    case kLinkHeartbeat:
      return {};
    case kAppEntries:
      at_ = At::kCount;
      return {};
    case kWhole:
      at_ = At::kMessageSize;
      return {};
    default:
      return base::fail(DecodeErrc::kUnknownType);
  }
}

base::Result<void, DecodeErrc> StreamDecoder::take_size(std::uint64_t size, At next) {
  if (counted_ > bytes_max_ || size > bytes_max_ - counted_) {
    return base::fail(DecodeErrc::kTooLarge);
  }
  counted_ += size + kEntryOverhead;
  size_ = size;
  at_ = next;
  return {};
}

base::Result<void, DecodeErrc> StreamDecoder::take_message(const base::SharedBytes& bytes,
                                                           MessageSink& sink) {
  auto message = raft::decode_message(bytes);
  if (!message) return base::fail(DecodeErrc::kMalformed);
  at_ = begin();
  term_ = message->term;
  index_ = last_index(*message);
  if (!is_link_heartbeat(*message)) sink.on_message(*std::move(message));
  return {};
}

base::Result<void, DecodeErrc> StreamDecoder::take_entry(const base::SharedBytes& bytes) {
  auto entry = raft::decode_entry(bytes);
  if (!entry) return base::fail(DecodeErrc::kMalformed);
  entries_.entries.push_back(*std::move(entry));
  at_ = --missing_ > 0 ? At::kEntrySize : At::kCommit;
  return {};
}

void StreamDecoder::begin_entries(std::uint64_t count) {
  entries_ = {.type = raft::MessageType::kApp,
              .to = to_,
              .from = from_,
              .term = term_,
              .log_term = term_,
              .index = index_};
  entries_.entries.reserve(static_cast<std::size_t>(std::min(count, kReserveEntries)));
  missing_ = count;
  counted_ = 0;
  at_ = count > 0 ? At::kEntrySize : At::kCommit;
}

void StreamDecoder::finish_entries(raft::Index commit, MessageSink& sink) {
  index_ += entries_.entries.size();
  entries_.commit = commit;
  at_ = begin();
  sink.on_message(std::exchange(entries_, {}));
}

}  // namespace keelson::peer
