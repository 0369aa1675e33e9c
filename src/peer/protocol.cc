#include "peer/protocol.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>

#include "membership/member.h"

namespace keelson::peer {
namespace {

using membership::Version;

// Of a member that does not say: they began to with 2.1.
constexpr Version kSilent{2, 0, 0};
// Streams as they are now, since:
constexpr Version kFirstStreams{2, 1, 0};

std::optional<Version> version_in(const http::Headers& headers, std::string_view name) {
  const auto text = headers.find(name);
  return text && !text->empty() ? membership::parse_version(*text) : kSilent;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const auto end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Digits off the front, exactly so many.
std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  int value = 0;
  if (text.size() < count) return std::nullopt;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + count, value);
  if (error != std::errc{} || stop != text.data() + count || value < 0) return std::nullopt;
  text.remove_prefix(count);
  return value;
}

bool take_char(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// Two numbers of two digits and what separates them, "15:04" or "01-02".
std::optional<std::pair<int, int>> take_pair(std::string_view& text, char separator) {
  const auto first = take_digits(text, 2);
  if (!first || !take_char(text, separator)) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second) return std::nullopt;
  return std::pair(*first, *second);
}

std::optional<base::Duration> take_fraction(std::string_view& text) {
  if (!take_char(text, '.')) return base::Duration::zero();
  std::int64_t nanoseconds = 0;
  int digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1)) {
    if (++digits > 9) return std::nullopt;
    nanoseconds = nanoseconds * 10 + (text.front() - '0');
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 9; ++digits) nanoseconds *= 10;
  return base::Duration(nanoseconds);
}

// How far the zone is ahead of UTC.
std::optional<std::chrono::minutes> take_zone(std::string_view& text) {
  if (take_char(text, 'Z')) return std::chrono::minutes(0);
  const bool west = text.starts_with('-');
  if (!take_char(text, '+') && !take_char(text, '-')) return std::nullopt;
  const auto zone = take_pair(text, ':');
  if (!zone) return std::nullopt;
  const std::chrono::minutes ahead(zone->first * 60 + zone->second);
  return west ? -ahead : ahead;
}

}  // namespace

http::Headers request_headers(const Options& options) {
  http::Headers headers;
  const auto add = [&](std::string_view name, std::string value) {
    headers.add(std::string(name), std::move(value));
  };
  add(kServerFrom, membership::id_text(options.member_id));
  add(kServerVersion, options.server_version.text());
  add(kMinClusterVersion, options.min_cluster_version.text());
  add(kClusterId, membership::id_text(options.cluster_id));
  add(kPeerUrls, fmt::format("{}", fmt::join(options.peer_urls, ",")));
  return headers;
}

Sender sender_of(const http::Headers& headers) {
  Sender sender;
  if (const auto from = headers.find(kServerFrom)) sender.id = membership::parse_id(*from);
  const auto urls = headers.find(kPeerUrls);
  if (urls && !urls->empty()) sender.peer_urls = split(*urls, ',');
  return sender;
}

std::optional<std::string_view> refusal(const Options& options, const http::Headers& headers) {
  const auto server = version_in(headers, kServerVersion);
  const auto min_cluster = version_in(headers, kMinClusterVersion);
  const bool fits = server && min_cluster &&
                    server->without_patch() >= options.min_cluster_version.without_patch() &&
                    min_cluster->without_patch() <= options.server_version.without_patch();
  if (!fits) return kIncompatibleVersion;
  if (headers.find(kClusterId) != membership::id_text(options.cluster_id)) {
    return kClusterIdMismatch;
  }
  return std::nullopt;
}

std::optional<bool> serves_streams(const Options& options, const http::Headers& answer) {
  const auto version = version_in(answer, kServerVersion);
  if (!version) return std::nullopt;
  return version->without_patch() >= options.server_version.without_patch() ||
         *version >= kFirstStreams;
}

PostOutcome post_outcome(int status, std::string_view body) {
  if (body.ends_with('\n')) body.remove_suffix(1);
  if (status == 204) return PostOutcome::kOk;
  if (status == 403) return PostOutcome::kMemberRemoved;
  if (status == 412 && body == kIncompatibleVersion) return PostOutcome::kIncompatibleVersion;
  if (status == 412 && body == kClusterIdMismatch) return PostOutcome::kClusterIdMismatch;
  return PostOutcome::kOther;
}

bool is_local(const raft::Message& message) {
  if (message.from == raft::kNone || message.from >= raft::kLocalApplyThread) return true;
  switch (message.type) {
    case raft::MessageType::kHup:
    case raft::MessageType::kBeat:
    case raft::MessageType::kUnreachable:
    case raft::MessageType::kSnapStatus:
    case raft::MessageType::kCheckQuorum:
    case raft::MessageType::kStorageAppend:
    case raft::MessageType::kStorageAppendResp:
    case raft::MessageType::kStorageApply:
    case raft::MessageType::kStorageApplyResp:
      return true;
    case raft::MessageType::kProp:
    case raft::MessageType::kApp:
    case raft::MessageType::kAppResp:
    case raft::MessageType::kVote:
    case raft::MessageType::kVoteResp:
    case raft::MessageType::kSnap:
    case raft::MessageType::kHeartbeat:
    case raft::MessageType::kHeartbeatResp:
    case raft::MessageType::kTransferLeader:
    case raft::MessageType::kTimeoutNow:
    case raft::MessageType::kReadIndex:
    case raft::MessageType::kReadIndexResp:
    case raft::MessageType::kPreVote:
    case raft::MessageType::kPreVoteResp:
    case raft::MessageType::kForgetLeader:
      return false;
  }
  return true;
}

std::string go_time(base::WallTime time) {
  const auto seconds = std::chrono::floor<base::Seconds>(time.time_since_epoch());
  const std::chrono::sys_seconds at(seconds);
  const auto days = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(days);
  const std::chrono::hh_mm_ss clock(at - days);
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                  static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                  clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  std::string fraction =
      fmt::format(".{:09}", (time.time_since_epoch() - base::Duration(seconds)).count());
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (fraction != ".") text += fraction;
  return text + "Z";
}

std::optional<base::WallTime> parse_go_time(std::string_view text) {
  const auto year = take_digits(text, 4);
  if (!year || !take_char(text, '-')) return std::nullopt;
  const auto day = take_pair(text, '-');
  if (!day || !take_char(text, 'T')) return std::nullopt;
  const auto clock = take_pair(text, ':');
  if (!clock || !take_char(text, ':')) return std::nullopt;
  const auto second = take_digits(text, 2);
  const auto fraction = take_fraction(text);
  const auto zone = take_zone(text);
  if (!second || !fraction || !zone || !text.empty()) return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(day->first)),
                                         std::chrono::day(static_cast<unsigned>(day->second)));
  if (!date.ok() || *year < 1970 || *year > 2200) return std::nullopt;
  const auto since_midnight = std::chrono::hours(clock->first) +
                              std::chrono::minutes(clock->second) + base::Seconds(*second) - *zone;
  return base::WallTime(std::chrono::sys_days(date).time_since_epoch() +
                        base::Duration(since_midnight) + *fraction);
}

std::string probing_body(base::WallTime now) {
  return fmt::format("{{\"OK\":true,\"Now\":\"{}\"}}\n", go_time(now));
}

std::optional<base::WallTime> parse_probing(std::string_view body) {
  const auto json = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto ok = json.find("OK");
  const auto now = json.find("Now");
  if (ok == json.end() || now == json.end() || *ok != true || !now->is_string()) {
    return std::nullopt;
  }
  return parse_go_time(now->get_ref<const std::string&>());
}

}  // namespace keelson::peer
