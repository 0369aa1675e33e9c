// How a cluster begins: --initial-cluster, the checks of a static start, and the first entries of
// the log. operations.md 2.3, 2.6; formats.md 5.4, 7.5.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"
#include "base/result.h"
#include "membership/cluster.h"
#include "membership/member.h"
#include "membership/resolved_urls.h"
#include "membership/urls.h"

namespace keelson::membership {

// Name -> peer URLs.
using InitialCluster = base::OrderedMap<std::string, Urls>;

// "m1=http://a:2380,m1=http://b:2380,m2=http://c:2380": one name's URLs are gathered.
base::Result<InitialCluster, ConfigError> parse_initial_cluster(std::string_view text);
// The same form again, ordered.
std::string to_text(const InitialCluster& cluster);

// Checks of a static start of `name`, in etcd's order: the local name is in it, the advertised peer
// URLs are those under that name, no URL twice, not empty.
struct BootstrapCheck {
  std::string_view name;
  const Urls& advertised_peer_urls;
  const InitialCluster& cluster;
  const ResolvedHosts& resolved;  // of urls_to_resolve(name, ...)
};
base::Result<void, ConfigError> check_bootstrap(const BootstrapCheck& check);
// What DNS must be asked about first.
Urls urls_to_resolve(std::string_view name, const Urls& advertised_peer_urls,
                     const InitialCluster& cluster);
// Checks before joining a running cluster: local name, duplicates, no discovery.
struct JoinCheck {
  std::string_view name;
  const InitialCluster& cluster;
  bool discovery = false;
};
base::Result<void, ConfigError> check_join(const JoinCheck& check);

// The first members, ascending by id. Two of one id, or an id of 0, is an error.
base::Result<std::vector<Member>, ConfigError> initial_members(const InitialCluster& cluster,
                                                               std::string_view token);

// Takes over the ids of a running cluster for the members listed in --initial-cluster, by peer
// URLs. The members of the cluster, named as listed here; an error if the two do not match one to
// one. `resolved`: of urls_to_resolve(cluster, existing).
base::Result<std::vector<Member>, ConfigError> match_existing(const InitialCluster& cluster,
                                                              const std::vector<Member>& existing,
                                                              const ResolvedHosts& resolved);
// What DNS must be asked about first: all hosts of members on either side that have no equal on the
// other as they are. (etcd asks about others too, on its way, and waits for dead names in vain.)
Urls urls_to_resolve(const InitialCluster& cluster, const std::vector<Member>& existing);

// The conf changes of a new cluster, to be entries 1..n of term 1: AddNode in ascending order of
// id.
struct BootstrapEntry {
  MemberId node_id = 0;
  std::string data;  // an encoded raftpb.ConfChange
};
std::vector<BootstrapEntry> bootstrap_entries(const std::vector<Member>& members);

}  // namespace keelson::membership
