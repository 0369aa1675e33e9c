#include "member/peer_hashes.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "env/log.h"
#include "member/keys_hasher.h"
#include "peer/protocol.h"

namespace keelson::member {
namespace {

constexpr std::size_t kAnswerBytesMax = std::size_t{64} << 10;

std::optional<nlohmann::json> parse_object(std::string_view text) {
  auto value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_null()) return nlohmann::json::object();
  if (!value.is_object()) return std::nullopt;
  return value;
}

// Absent or null: stays as it is. False for what is no such number.
template <class T>
bool take(const nlohmann::json& object, const char* name, T& target) {
  const auto it = object.find(name);
  if (it == object.end() || it->is_null()) return true;
  if (!it->is_number_integer()) return false;
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
  constexpr auto kMin = static_cast<std::int64_t>(std::numeric_limits<T>::min());
  const bool fits =
      it->is_number_unsigned() ? it->get<std::uint64_t>() <= kMax : it->get<std::int64_t>() >= kMin;
  if (fits) target = it->get<T>();
  return fits;
}

// Of one object, in Go's order and without what is zero.
class Fields {
 public:
  void add(std::string_view name, std::int64_t value) {
    if (value != 0) add_raw(name, fmt::format("{}", value));
  }
  void add_raw(std::string_view name, std::string_view json) {
    out_ += fmt::format(R"({}"{}":{})", out_.empty() ? "" : ",", name, json);
  }
  std::string text() const { return "{" + out_ + "}"; }

 private:
  std::string out_;
};

}  // namespace

std::string hash_request_json(std::int64_t revision) {
  Fields fields;
  fields.add("revision", revision);
  return fields.text();
}

std::optional<std::int64_t> parse_hash_request(std::string_view json) {
  const auto object = parse_object(json);
  std::int64_t revision = 0;
  if (!object || !take(*object, "revision", revision)) return std::nullopt;
  return revision;
}

std::string hash_json(const ToldHash& hash) {
  Fields header, fields;
  header.add("revision", hash.revision);
  fields.add_raw("header", header.text());
  fields.add("hash", hash.hash);
  fields.add("compact_revision", hash.compact_revision);
  fields.add("hash_revision", hash.hash_revision);
  return fields.text();
}

std::optional<ToldHash> parse_hash(std::string_view json) {
  const auto object = parse_object(json);
  if (!object) return std::nullopt;
  ToldHash hash;
  const auto header = object->find("header");
  const bool has_header = header != object->end() && !header->is_null();
  if (has_header && (!header->is_object() || !take(*header, "revision", hash.revision))) {
    return std::nullopt;
  }
  if (!take(*object, "hash", hash.hash) ||
      !take(*object, "compact_revision", hash.compact_revision) ||
      !take(*object, "hash_revision", hash.hash_revision)) {
    return std::nullopt;
  }
  return hash;
}

base::Result<ToldHash, NoHash> read_hash(const base::Result<peer::Answered>& answered) {
  using enum NoHash::Why;
  if (!answered) return base::fail(NoHash{kOther, answered.error().message()});
  const std::string& body = answered->body;
  const auto says = [&body](std::string_view words) {
    return body.find(words) != std::string::npos;
  };
  if (answered->status == 400 && says(describe(mvcc::Errc::kCompacted))) {
    return base::fail(NoHash{kCompacted, body});
  }
  if (answered->status == 400 && says(describe(mvcc::Errc::kFutureRevision))) {
    return base::fail(NoHash{kFutureRevision, body});
  }
  if (answered->status == 412 && says(peer::kClusterIdMismatch)) {
    return base::fail(NoHash{kOtherCluster, body});
  }
  if (answered->status != 200) {
    return base::fail(NoHash{kOther, fmt::format("unknown error: {}", body)});
  }
  const auto hash = parse_hash(body);
  if (!hash) return base::fail(NoHash{kOther, "the answer cannot be read"});
  return *hash;
}

PeerHashes::PeerHashes(env::Lane& lane, peer::Connector& connector, Whom whom, Done done)
    : lane_(lane), connector_(connector), whom_(std::move(whom)), done_(std::move(done)) {
  for (const auto& member : whom_.members) {
    if (member.id == whom_.self.member_id || member.peer_urls.empty()) continue;
    rows_.push_back({.id = member.id, .urls = member.peer_urls});
  }
  unanswered_ = rows_.size();
  for (std::size_t row = 0; row < rows_.size(); row++) ask(row);
  if (rows_.empty()) timer_ = lane_.after(base::Duration(0), [this] { finish_if_all(); });
}

PeerHashes::~PeerHashes() { lane_.cancel(timer_); }

void PeerHashes::ask(std::size_t row) {
  http::ClientRequest request{
      .target = std::string(kHashPath),
      .headers = {{"Content-Type", "application/json"},
                  {std::string(peer::kClusterId), membership::id_text(whom_.self.cluster_id)}},
      .body = base::SharedBytes(hash_request_json(whom_.revision))};
  questions_.push_back(
      peer::ask(lane_, connector_,
                {.urls = rows_[row].urls,
                 .request = std::move(request),
                 .timeout = whom_.patience,
                 .body_bytes_max = kAnswerBytesMax},
                [this, row](const base::Result<peer::Answered>& one) { answered(row, one); }));
}

void PeerHashes::answered(std::size_t row, const base::Result<peer::Answered>& one) {
  rows_[row].told = read_hash(one);
  if (!rows_[row].told) {
    env::log_warn("failed hash kv request",
                  {{"local-member-id", membership::id_text(whom_.self.member_id)},
                   {"requested-revision", whom_.revision},
                   {"remote-peer-endpoint", rows_[row].urls.front()},
                   {"error", rows_[row].told.error().text}});
  }
  unanswered_--;
  finish_if_all();
}

void PeerHashes::finish_if_all() {
  timer_ = 0;
  if (unanswered_ == 0) std::exchange(done_, {})(std::move(rows_));
}

}  // namespace keelson::member
