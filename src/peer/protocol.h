// What members of etcd say to each other around the messages: header fields, the checks of a
// request and the words of refusals. Pure. formats.md 6.2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "http/http1.h"
#include "membership/version.h"
#include "peer/transport.h"
#include "raft/types.h"

namespace keelson::peer {

// Spelled as Go writes header names.
inline constexpr std::string_view kServerFrom = "X-Server-From";
inline constexpr std::string_view kServerVersion = "X-Server-Version";
inline constexpr std::string_view kMinClusterVersion = "X-Min-Cluster-Version";
inline constexpr std::string_view kClusterId = "X-Etcd-Cluster-Id";
inline constexpr std::string_view kPeerUrls = "X-Peerurls";
inline constexpr std::string_view kRaftTo = "X-Raft-To";

inline constexpr std::string_view kRaftPath = "/raft";
inline constexpr std::string_view kStreamPath = "/raft/stream/";
inline constexpr std::string_view kSnapshotPath = "/raft/snapshot";
inline constexpr std::string_view kProbingPath = "/raft/probing";

inline constexpr std::string_view kIncompatibleVersion = "incompatible version";
inline constexpr std::string_view kClusterIdMismatch = "cluster ID mismatch";
inline constexpr std::string_view kMemberRemoved =
    "the member has been permanently removed from the cluster";

// The fields of every request of ours; X-Raft-To is for streams.
http::Headers request_headers(const Options& options);

// What the sender of a request says of itself; empty or nullopt where it does not.
struct Sender {
  std::optional<raft::NodeId> id;
  std::vector<std::string> peer_urls;
};
Sender sender_of(const http::Headers& headers);

// The text of the 412 that a request gets; nullopt: it is one of this cluster, and of a version
// that understands ours. A version that is not given is 2.0.0, as of members that old; one that
// cannot be read is too old as well.
std::optional<std::string_view> refusal(const Options& options, const http::Headers& headers);

// Whether a member that answers with this version serves streams: newer ones do, older ones
// from 2.1 on. nullopt if the version cannot be read.
std::optional<bool> serves_streams(const Options& options, const http::Headers& answer);

// What the answer to a POST means.
enum class PostOutcome {
  kOk,
  kMemberRemoved,  // 403
  kIncompatibleVersion,
  kClusterIdMismatch,
  kOther,
};
PostOutcome post_outcome(int status, std::string_view body);

// Never from a peer: kinds of messages that only travel within a member, and senders that are
// nobody.
bool is_local(const raft::Message& message);

// RFC 3339 with nanoseconds, as Go's JSON has a time; UTC. And back, with any zone.
std::string go_time(base::WallTime time);
std::optional<base::WallTime> parse_go_time(std::string_view text);
// The body of GET /raft/probing, and the time in one; nullopt if it does not say that all is well.
std::string probing_body(base::WallTime now);
std::optional<base::WallTime> parse_probing(std::string_view body);

}  // namespace keelson::peer
