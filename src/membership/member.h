// Member: one server of the cluster, and the exact JSON that etcd's members exchange about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::membership {

using MemberId = std::uint64_t;  // 0 is nobody
using ClusterId = std::uint64_t;

struct Member {
  MemberId id = 0;
  std::vector<std::string> peer_urls;
  bool is_learner = false;
  std::string name;                      // empty until the member has published itself
  std::vector<std::string> client_urls;  // likewise

  // It has published its attributes at least once.
  bool started() const { return !name.empty(); }
  friend bool operator==(const Member&, const Member&) = default;
};

// Lower case, no padding ("8e9e05c52164694d"), as in paths, headers and bucket keys; and back: base
// 16, either case, nullopt for anything else or beyond 64 bits.
std::string id_text(std::uint64_t id);
std::optional<std::uint64_t> parse_id(std::string_view text);

// The bytes Go's encoding/json gives, formats.md 0.3 and 5.4: bucket `members`, conf change
// contexts, GET /members.
//   {"id":1,"peerURLs":["http://a:2380"],"isLearner":true,"name":"m1","clientURLs":["http://a:2379"]}
std::string member_json(const Member& member);
// An array of them: GET /members.
std::string members_json(const std::vector<Member>& members);
// {"peerURLs":[..],"isLearner":true} and {"name":"m1","clientURLs":[..]}: the v2 store's two
// leaves.
std::string raft_attributes_json(const Member& member);
std::string attributes_json(const Member& member);

// The context of an AddNode or AddLearnerNode at run time: a Member, flat, and isPromote (always
// printed).
struct ConfigChangeContext {
  Member member;
  bool is_promote = false;
};
std::string config_change_json(const ConfigChangeContext& context);

// Readers take names in any case, ignore unknown fields and read a plain Member as a context
// without promotion; nullopt for what is not such JSON.
std::optional<Member> parse_member(std::string_view json);
std::optional<std::vector<Member>> parse_members(std::string_view json);
std::optional<ConfigChangeContext> parse_config_change(std::string_view json);

// ids, formats.md 8. First eight bytes, big endian, of SHA-1 over what identifies it.
// A member of a new cluster: its peer URLs (in any order) and the cluster token.
MemberId bootstrap_member_id(std::vector<std::string> peer_urls, std::string_view token);
// A member added at run time: its peer URLs and the second in which it was asked for.
MemberId added_member_id(std::vector<std::string> peer_urls, std::int64_t unix_seconds);
// Of the first members, in any order; never computed again.
ClusterId cluster_id(std::vector<MemberId> members);

}  // namespace keelson::membership
