#include "membership/member.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "membership/json.h"

namespace keelson::membership {

namespace {

constexpr std::size_t kSha1Bytes = 20;

void append_big_endian(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

std::uint64_t first_eight_of_sha1(std::string_view bytes) {
  std::array<unsigned char, kSha1Bytes> digest{};
  unsigned length = 0;
  CHECK_EQ(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha1(), nullptr), 1);
  CHECK_EQ(length, kSha1Bytes);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; i++) value = value << 8 | digest[i];
  return value;
}

std::string sorted_and_joined(std::vector<std::string> peer_urls) {
  std::sort(peer_urls.begin(), peer_urls.end());
  return fmt::format("{}", fmt::join(peer_urls, ""));
}

void write_raft_attributes(json::ObjectWriter& out, const Member& member) {
  out.texts("peerURLs", member.peer_urls);
  if (member.is_learner) out.boolean("isLearner", true);
}
void write_attributes(json::ObjectWriter& out, const Member& member) {
  if (!member.name.empty()) out.text("name", member.name);
  if (!member.client_urls.empty()) out.texts("clientURLs", member.client_urls);
}
void write_member(json::ObjectWriter& out, const Member& member) {
  out.number("id", member.id);
  write_raft_attributes(out, member);
  write_attributes(out, member);
}

Member read_member(json::ObjectReader& in) {
  Member member;
  in.number("id", member.id);
  in.texts("peerURLs", member.peer_urls);
  in.boolean("isLearner", member.is_learner);
  in.text("name", member.name);
  in.texts("clientURLs", member.client_urls);
  return member;
}

}  // namespace

std::string id_text(std::uint64_t id) { return fmt::format("{:x}", id); }

std::optional<std::uint64_t> parse_id(std::string_view text) {
  std::uint64_t id = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id, 16);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return id;
}

std::string member_json(const Member& member) {
  json::ObjectWriter out;
  write_member(out, member);
  return std::move(out).finish();
}

std::string members_json(const std::vector<Member>& members) {
  std::vector<std::string> texts;
  for (const Member& member : members) texts.push_back(member_json(member));
  return fmt::format("[{}]", fmt::join(texts, ","));
}

std::string raft_attributes_json(const Member& member) {
  json::ObjectWriter out;
  write_raft_attributes(out, member);
  return std::move(out).finish();
}

std::string attributes_json(const Member& member) {
  json::ObjectWriter out;
  write_attributes(out, member);
  return std::move(out).finish();
}

std::string config_change_json(const ConfigChangeContext& context) {
  json::ObjectWriter out;
  write_member(out, context.member);
  out.boolean("isPromote", context.is_promote);
  return std::move(out).finish();
}

std::optional<Member> parse_member(std::string_view text) {
  auto context = parse_config_change(text);
  if (!context) return std::nullopt;
  return std::move(context->member);
}

std::optional<std::vector<Member>> parse_members(std::string_view text) {
  const auto value = json::parse(text);
  if (!value || !(value->is_array() || value->is_null())) return std::nullopt;
  std::vector<Member> members;
  for (const auto& element : *value) {
    json::ObjectReader in(element);
    members.push_back(read_member(in));
    if (!in.ok()) return std::nullopt;
  }
  return members;
}

std::optional<ConfigChangeContext> parse_config_change(std::string_view text) {
  const auto value = json::parse(text);
  if (!value) return std::nullopt;
  json::ObjectReader in(*value);
  ConfigChangeContext context;
  context.member = read_member(in);
  in.boolean("isPromote", context.is_promote);
  if (!in.ok()) return std::nullopt;
  return context;
}

MemberId bootstrap_member_id(std::vector<std::string> peer_urls, std::string_view token) {
  return first_eight_of_sha1(sorted_and_joined(std::move(peer_urls)).append(token));
}

MemberId added_member_id(std::vector<std::string> peer_urls, std::int64_t unix_seconds) {
  return first_eight_of_sha1(sorted_and_joined(std::move(peer_urls)) +
                             std::to_string(unix_seconds));
}

ClusterId cluster_id(std::vector<MemberId> members) {
  std::sort(members.begin(), members.end());
  std::string bytes;
  for (const MemberId id : members) append_big_endian(bytes, id);
  return first_eight_of_sha1(bytes);
}

}  // namespace keelson::membership
