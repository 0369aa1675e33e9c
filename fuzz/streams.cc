// The two streams between members, as another member might send them: the same messages come out
// however the bytes are cut, and what comes out can be written again.

#include <string>
#include <vector>

#include "base/check.h"
#include "fuzz/input.h"
#include "peer/stream_codec.h"
#include "raft/wire.h"

namespace keelson::fuzz {
namespace {

constexpr std::uint64_t kBytesMax = 64 << 10;

struct Heard final : peer::MessageSink {
  void on_message(raft::Message message) override {
    std::string bytes;
    raft::encode(message, bytes);
    CHECK_EQ(bytes.size(), raft::encoded_size(message));
    total += bytes.size();
    CHECK_LE(bytes.size(), 2 * kBytesMax);
    messages.push_back(std::move(message));
    encoded.push_back(std::move(bytes));
  }
  std::vector<raft::Message> messages;
  std::vector<std::string> encoded;
  std::size_t total = 0;
};

// Fed in pieces of this size; false once it refuses.
bool feed(std::string_view bytes, std::size_t piece, peer::StreamKind kind, Heard& heard) {
  peer::StreamDecoder decoder(kind, 1, 2, kBytesMax);
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    if (!decoder.feed(bytes.substr(at, piece), heard).ok()) return false;
  }
  return true;
}

void write_again(const Heard& heard, peer::StreamKind kind) {
  peer::StreamEncoder encoder(kind);
  peer::FrameBuffer buffer;
  for (const auto& message : heard.messages) {
    if (kind == peer::StreamKind::kMsgApp && message.type != raft::MessageType::kApp) return;
    encoder.put(message, buffer);
  }
  std::string bytes;
  for (const auto& piece : buffer.take()) bytes += piece.view();
  Heard again;
  CHECK(feed(bytes, bytes.size() + 1, kind, again));
  CHECK_EQ(again.encoded.size(), heard.encoded.size());
}

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace keelson;  // NOLINT
  fuzz::Input input(data, size);
  const auto kind = input.byte() % 2 == 0 ? peer::StreamKind::kMsgApp : peer::StreamKind::kMessage;
  const std::size_t piece = std::size_t{1} + input.byte();
  const std::string_view bytes = input.rest();
  fuzz::Heard whole, cut;
  const bool ok = fuzz::feed(bytes, bytes.size() + 1, kind, whole);
  CHECK_EQ(fuzz::feed(bytes, piece, kind, cut), ok);
  CHECK(whole.encoded == cut.encoded);
  if (whole.total < fuzz::kBytesMax / 2) fuzz::write_again(whole, kind);
  return 0;
}
