#include "http/raw_client.h"

#include <fmt/format.h>

#include "base/check.h"

namespace keelson::http::fake {
namespace {

std::uint32_t number(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string error_name(std::uint32_t code) { return nghttp2_http2_strerror(code); }

std::string describe_settings(const Frame& frame) {
  std::string out = "SETTINGS";
  if ((frame.flags & NGHTTP2_FLAG_ACK) != 0) return out + " ack";
  for (std::size_t i = 0; i + 6 <= frame.payload.size(); i += 6) {
    const std::uint32_t head = number(std::string("\0\0", 2) + frame.payload.substr(i, 2));
    out += fmt::format(" {}={}", head, number(frame.payload.substr(i + 2)));
  }
  return out;
}

}  // namespace

std::string big_endian(std::uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
          static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string frame_bytes(std::uint8_t type, std::uint8_t flags, std::int32_t stream,
                        std::string_view payload) {
  std::string out = big_endian(static_cast<std::uint32_t>(payload.size())).substr(1);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  out += big_endian(static_cast<std::uint32_t>(stream));
  return out.append(payload);
}

std::string grpc_message(std::string_view body, char flag) {
  return (std::string(1, flag) + big_endian(static_cast<std::uint32_t>(body.size()))).append(body);
}

RawClient::RawClient() {
  CHECK_EQ(nghttp2_hd_deflate_new(&deflater_, 4096), 0);
  CHECK_EQ(nghttp2_hd_inflate_new(&inflater_), 0);
}

RawClient::~RawClient() {
  nghttp2_hd_deflate_del(deflater_);
  nghttp2_hd_inflate_del(inflater_);
}

std::string RawClient::preface() {
  return std::string(NGHTTP2_CLIENT_MAGIC) + frame_bytes(NGHTTP2_SETTINGS, 0, 0, "");
}

std::string RawClient::headers(std::int32_t stream, const Fields& fields, bool end) {
  std::vector<nghttp2_nv> list;
  for (const auto& [name, value] : fields) {
    list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                    reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
                    value.size(), NGHTTP2_NV_FLAG_NONE});
  }
  std::string block(nghttp2_hd_deflate_bound(deflater_, list.data(), list.size()), '\0');
  const ssize_t size =
      nghttp2_hd_deflate_hd(deflater_, reinterpret_cast<std::uint8_t*>(block.data()), block.size(),
                            list.data(), list.size());
  CHECK(size >= 0);
  block.resize(static_cast<std::size_t>(size));
  // A long block goes on in CONTINUATION frames.
  constexpr std::size_t kPayloadMax = 16384;
  const std::uint8_t end_flag = end ? NGHTTP2_FLAG_END_STREAM : 0;
  std::string out;
  for (std::size_t from = 0; from == 0 || from < block.size(); from += kPayloadMax) {
    const bool last = from + kPayloadMax >= block.size();
    const std::uint8_t flags = (from == 0 ? end_flag : 0) | (last ? NGHTTP2_FLAG_END_HEADERS : 0);
    out += frame_bytes(from == 0 ? NGHTTP2_HEADERS : NGHTTP2_CONTINUATION, flags, stream,
                       block.substr(from, kPayloadMax));
  }
  return out;
}

std::string RawClient::data(std::int32_t stream, std::string_view payload, bool end) {
  std::string out;
  constexpr std::size_t kPayloadMax = 16384;
  do {
    const std::string_view part = payload.substr(0, kPayloadMax);
    payload.remove_prefix(part.size());
    const bool last = end && payload.empty();
    out += frame_bytes(NGHTTP2_DATA, last ? NGHTTP2_FLAG_END_STREAM : 0, stream, part);
  } while (!payload.empty());
  return out;
}

std::string RawClient::reset(std::int32_t stream, std::uint32_t code) {
  return frame_bytes(NGHTTP2_RST_STREAM, 0, stream, big_endian(code));
}

std::string RawClient::window(std::int32_t stream, std::uint32_t bytes) {
  return frame_bytes(NGHTTP2_WINDOW_UPDATE, 0, stream, big_endian(bytes));
}

std::string RawClient::ping(std::string_view payload, bool ack) {
  return frame_bytes(NGHTTP2_PING, ack ? NGHTTP2_FLAG_ACK : 0, 0, payload);
}

std::vector<Frame> RawClient::receive(std::string_view bytes) {
  partial_.append(bytes);
  std::vector<Frame> frames;
  std::size_t from = 0;
  while (partial_.size() - from >= 9) {
    const std::string_view head = std::string_view(partial_).substr(from, 9);
    const std::size_t length = number(head) >> 8;
    if (partial_.size() - from < 9 + length) break;
    Frame frame{.type = static_cast<std::uint8_t>(head[3]),
                .flags = static_cast<std::uint8_t>(head[4]),
                .stream = static_cast<std::int32_t>(number(head.substr(5))),
                .payload = partial_.substr(from + 9, length)};
    if (frame.type == NGHTTP2_HEADERS) frame.fields = inflate(frame.payload);
    frames.push_back(std::move(frame));
    from += 9 + length;
  }
  partial_.erase(0, from);
  return frames;
}

Fields RawClient::inflate(std::string_view block) {
  Fields fields;
  auto* in = reinterpret_cast<const std::uint8_t*>(block.data());
  std::size_t left = block.size();
  while (true) {
    nghttp2_nv nv;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, in, left, 1);
    CHECK(used >= 0);
    in += used;
    left -= static_cast<std::size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      fields.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
                          std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater_);
  return fields;
}

std::string describe(const Frame& frame) {
  const std::string end = frame.end() ? " end" : "";
  switch (frame.type) {
    case NGHTTP2_HEADERS: {
      std::string out = fmt::format("HEADERS {}{}", frame.stream, end);
      for (const auto& [name, value] : frame.fields) out += fmt::format(" {}={}", name, value);
      return out;
    }
    case NGHTTP2_DATA:
      return fmt::format("DATA {}{} {}", frame.stream, end, frame.payload.size());
    case NGHTTP2_RST_STREAM:
      return fmt::format("RST_STREAM {} {}", frame.stream, error_name(number(frame.payload)));
    case NGHTTP2_SETTINGS:
      return describe_settings(frame);
    case NGHTTP2_PING:
      return fmt::format("PING{}", (frame.flags & NGHTTP2_FLAG_ACK) != 0 ? " ack" : "");
    case NGHTTP2_GOAWAY:
      return fmt::format("GOAWAY last={} {} {}", number(frame.payload),
                         error_name(number(frame.payload.substr(4))), frame.payload.substr(8));
    case NGHTTP2_WINDOW_UPDATE:
      return fmt::format("WINDOW_UPDATE {} {}", frame.stream, number(frame.payload));
    default:
      return fmt::format("FRAME type={}", frame.type);
  }
}

}  // namespace keelson::http::fake
