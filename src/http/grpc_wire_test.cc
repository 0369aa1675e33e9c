#include "http/grpc_wire.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "http/grpc.h"

namespace keelson::http {
namespace {

using namespace std::chrono_literals;

TEST(GrpcWire, Timeouts) {
  struct Row {
    std::string_view text;
    base::Duration expected;
  };
  const Row rows[] = {
      {"1n", 1ns},
      {"20u", 20us},
      {"100m", 100ms},
      {"5S", 5s},
      {"3M", 3min},
      {"2H", 2h},
      {"0S", 0s},
      {"00000001S", 1s},
      {"99999999S", 99'999'999s},
      {"99999999H", base::Duration::max()},  // clamped
  };
  for (const auto& [text, expected] : rows) {
    const auto parsed = parse_timeout(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, expected) << text;
  }
  for (const std::string_view text :
       {"", "1", "S", "123456789S", "5x", "5 S", "-1S", "+1S", "1.5S"}) {
    EXPECT_FALSE(parse_timeout(text)) << text;
  }
}

TEST(GrpcWire, TimeoutsSurviveTheWay) {
  const std::pair<base::Duration, std::string_view> rows[] = {
      {0ns, "0n"},
      {-1s, "0n"},
      {1ns, "1n"},
      {99'999'999ns, "99999999n"},
      {100'000'001ns, "100001u"},
      {5s, "5000000u"},
      {1h, "3600000m"},
      {24h * 365, "31536000S"},
      {base::Duration::max(), "2562048H"},
  };
  for (const auto& [timeout, text] : rows) EXPECT_EQ(format_timeout(timeout), text);
  base::Random random(1);
  for (int i = 0; i < 10'000; ++i) {
    const base::Duration timeout(
        static_cast<std::int64_t>(random.next() >> (1 + random.below(60))));
    const base::Duration back = *parse_timeout(format_timeout(timeout));
    EXPECT_GE(back, timeout);  // never shorter, and hardly longer
    EXPECT_LE((back - timeout).count(), timeout.count() / 99'999 + 1);
  }
}

TEST(GrpcWire, Messages) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", ""},
      {"plain text ~!", "plain text ~!"},
      {"100%", "100%25"},
      {"a\nb", "a%0Ab"},
      {"\x7F", "%7F"},
      {"na\xC3\xAFve", "na%C3%AFve"},
      {"\xFF", "%EF%BF%BD"},                            // no UTF-8
      {"\xED\xA0\x80", "%EF%BF%BD%EF%BF%BD%EF%BF%BD"},  // nor is a surrogate
      {"\xF0\x9F\x98\x80", "%F0%9F%98%80"},
  };
  for (const auto& [message, text] : rows) EXPECT_EQ(encode_grpc_message(message), text);
  EXPECT_EQ(decode_grpc_message("na%C3%AFve 100%25 %zz %4"), "na\xC3\xAFve 100% %zz %4");
  EXPECT_LE(encode_grpc_message(std::string(1 << 20, '\n')).size(), kGrpcMessageBytesMax + 12);
}

TEST(GrpcWire, BinaryHeaders) {
  const std::pair<std::string_view, std::string_view> rows[] = {
      {"", ""}, {"YQ", "a"}, {"YQ==", "a"}, {"YWI=", "ab"}, {"YWI", "ab"}, {"YWJj", "abc"},
  };
  for (const auto& [text, bytes] : rows) EXPECT_EQ(*decode_binary_header(text), bytes) << text;
  const std::pair<std::string_view, std::string_view> refused[] = {
      {"***", "illegal base64 data at input byte 0"},
      {"YQ=", "illegal base64 data at input byte 2"},
      {"YW!j", "illegal base64 data at input byte 2"},
      {"Y", "illegal base64 data at input byte 0"},
      {"Y===", "illegal base64 data at input byte 1"},
  };
  for (const auto& [text, why] : refused)
    EXPECT_EQ(decode_binary_header(text).error(), why) << text;
  base::Random random(2);
  for (int i = 0; i < 1000; ++i) {
    const std::string bytes = random.bytes(random.below(50));
    EXPECT_EQ(*decode_binary_header(encode_binary_header(bytes)), bytes);
  }
}

TEST(GrpcWire, ContentTypes) {
  EXPECT_EQ(content_subtype("application/grpc"), "");
  EXPECT_EQ(content_subtype("application/grpc+proto"), "proto");
  EXPECT_EQ(content_subtype("application/grpc;x=y"), "x=y");
  EXPECT_EQ(content_subtype("application/grpc+"), "");
  for (const std::string_view text :
       {"", "application/grp", "application/grpcx", "Application/grpc"}) {
    EXPECT_EQ(content_subtype(text), std::nullopt) << text;
  }
}

TEST(GrpcWire, HeaderFields) {
  EXPECT_TRUE(valid_header_name("x-a_1"));
  for (const std::string_view name : {"", "X", "a b", "a:", "\xC3"}) {
    EXPECT_FALSE(valid_header_name(name)) << name;
  }
  EXPECT_TRUE(valid_header_value("a\tb \xC3\xAF"));
  EXPECT_TRUE(valid_header_value(""));
  EXPECT_FALSE(valid_header_value("a\nb"));
  EXPECT_FALSE(valid_header_value(std::string_view("\0", 1)));
}

// Each byte at each place of a text that is looked at in words.
TEST(GrpcWire, HeaderValuesByteByByte) {
  for (std::size_t length = 1; length <= 24; length++) {
    for (std::size_t place = 0; place < length; place++) {
      for (int byte = 0; byte < 256; byte++) {
        std::string value(length, '~');
        value[place] = static_cast<char>(byte);
        const bool valid = (byte >= 0x20 || byte == '\t') && byte != 0x7F;
        ASSERT_EQ(valid_header_value(value), valid) << length << " " << place << " " << byte;
      }
    }
  }
}

TEST(Grpc, CodesAndReasons) {
  EXPECT_EQ(status_code_name(StatusCode::kCancelled), "Canceled");
  EXPECT_EQ(status_code_name(StatusCode::kUnauthenticated), "Unauthenticated");
  EXPECT_EQ(status_code(CancelReason::kDeadline), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status_code(CancelReason::kReset), StatusCode::kCancelled);
}

}  // namespace
}  // namespace keelson::http
