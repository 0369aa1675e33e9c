#include "membership/bootstrap.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/go_text.h"
#include "proto/raft.pb.h"

namespace keelson::membership {

namespace {

std::unexpected<ConfigError> bad(std::string text) {
  return base::fail(ConfigError{std::move(text)});
}

base::Result<void, ConfigError> check_local_name(const InitialCluster& cluster,
                                                 std::string_view name) {
  if (cluster.contains(name)) return {};
  return bad(fmt::format("couldn't find local name {} in the initial cluster configuration",
                         base::quote(name)));
}

base::Result<void, ConfigError> check_duplicates(const InitialCluster& cluster) {
  std::set<std::string> seen;
  for (const auto& [name, urls] : cluster) {
    for (const Url& url : urls) {
      if (!seen.insert(url.text()).second) {
        return bad(fmt::format("initial cluster {} has duplicate url", to_text(cluster)));
      }
    }
  }
  return {};
}

// Texts of `all` that are not among `others`, ascending, once each.
std::vector<std::string> missing_from(const Urls& all, const Urls& others) {
  const auto texts = to_texts(all), other_texts = to_texts(others);
  std::set<std::string> missing(texts.begin(), texts.end());
  for (const std::string& text : other_texts) missing.erase(text);
  return {missing.begin(), missing.end()};
}

base::Result<void, ConfigError> check_advertised(const BootstrapCheck& check) {
  const Urls& listed = check.cluster.find(check.name)->second;
  const Urls& advertised = check.advertised_peer_urls;
  const auto cause = why_unequal(advertised, listed, check.resolved);
  if (!cause) return {};
  auto advertised_texts = to_texts(advertised);
  std::sort(advertised_texts.begin(), advertised_texts.end());
  const std::string advertised_text = fmt::format("{}", fmt::join(advertised_texts, ","));
  const std::string as_cluster = to_text(InitialCluster{{std::string(check.name), advertised}});

  auto missing = missing_from(listed, advertised);
  if (!missing.empty()) {
    for (std::string& url : missing) url = fmt::format("{}={}", check.name, url);
    return bad(fmt::format(
        "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({})",
        fmt::join(missing, ","), advertised_text, *cause));
  }
  missing = missing_from(advertised, listed);
  if (!missing.empty()) {
    return bad(
        fmt::format("--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                    fmt::join(missing, ","), as_cluster));
  }
  return bad(fmt::format("failed to resolve {} to match --initial-cluster={} ({})", advertised_text,
                         as_cluster, *cause));
}

std::string no_match(const Member& known, std::string_view cause) {
  return fmt::format(
      "PeerURLs: no match found for existing member ({}, [{}]), last resolver error ({})",
      id_text(known.id), fmt::join(known.peer_urls, " "), cause);
}

// Which name of --initial-cluster each member of a running cluster is listed under, one to one.
struct Pairing {
  std::vector<Urls> urls;          // of each member
  std::vector<std::string> names;  // of each member; empty: not known yet

  // As far as their texts tell.
  static base::Result<Pairing, ConfigError> by_text(const InitialCluster& cluster,
                                                    const std::vector<Member>& existing) {
    Pairing pairing;
    for (const Member& known : existing) {
      auto urls = parse_urls(known.peer_urls);
      if (!urls) return bad(no_match(known, urls.error().text));
      pairing.urls.push_back(*std::move(urls));
    }
    pairing.names.resize(existing.size());
    for (std::size_t i = 0; i < existing.size(); i++) pairing.find(i, cluster, equal_urls);
    return pairing;
  }

  bool taken(std::string_view name) const { return std::ranges::find(names, name) != names.end(); }

  // Of member `i`, among the names that are left.
  bool find(std::size_t i, const InitialCluster& cluster, const auto& equal) {
    const auto match = std::ranges::find_if(cluster, [&](const auto& listed) {
      return !taken(listed.first) && equal(urls[i], listed.second);
    });
    if (match == cluster.end()) return false;
    names[i] = match->first;
    return true;
  }
};

}  // namespace

base::Result<InitialCluster, ConfigError> parse_initial_cluster(std::string_view text) {
  base::OrderedMap<std::string, std::vector<std::string>> texts;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view pair = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const bool has_value = equals != std::string_view::npos;
    texts[std::string(pair.substr(0, equals))].emplace_back(has_value ? pair.substr(equals + 1)
                                                                      : "");
  }
  InitialCluster cluster;
  for (const auto& [name, list] : texts) {
    ASSIGN_OR_RETURN(cluster[name], parse_urls(list));
  }
  return cluster;
}

std::string to_text(const InitialCluster& cluster) {
  std::vector<std::string> pairs;
  for (const auto& [name, urls] : cluster) {
    for (const Url& url : urls) pairs.push_back(fmt::format("{}={}", name, url.text()));
  }
  std::sort(pairs.begin(), pairs.end());
  return fmt::format("{}", fmt::join(pairs, ","));
}

base::Result<void, ConfigError> check_bootstrap(const BootstrapCheck& check) {
  RETURN_IF_ERROR(check_local_name(check.cluster, check.name));
  RETURN_IF_ERROR(check_advertised(check));
  RETURN_IF_ERROR(check_duplicates(check.cluster));
  if (to_text(check.cluster).empty())
    return bad("initial cluster unset and no discovery endpoints found");
  return {};
}

base::Result<void, ConfigError> check_join(const JoinCheck& check) {
  RETURN_IF_ERROR(check_local_name(check.cluster, check.name));
  RETURN_IF_ERROR(check_duplicates(check.cluster));
  if (check.discovery) {
    return bad("discovery URL should not be set when joining existing initial cluster");
  }
  return {};
}

base::Result<std::vector<Member>, ConfigError> initial_members(const InitialCluster& cluster,
                                                               std::string_view token) {
  std::vector<Member> members;
  for (const auto& [name, urls] : cluster) {
    Member member{.peer_urls = to_texts(urls), .name = name, .client_urls = {}};
    member.id = bootstrap_member_id(member.peer_urls, token);
    if (member.id == 0) return bad("cannot use 0 as member id");
    members.push_back(std::move(member));
  }
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  const auto twin =
      std::adjacent_find(members.begin(), members.end(),
                         [](const Member& a, const Member& b) { return a.id == b.id; });
  if (twin != members.end()) {
    return bad(fmt::format("member exists with identical ID {}", member_json(*twin)));
  }
  return members;
}

Urls urls_to_resolve(std::string_view name, const Urls& advertised_peer_urls,
                     const InitialCluster& cluster) {
  const auto listed = cluster.find(name);
  return listed == cluster.end() ? Urls() : urls_to_resolve(advertised_peer_urls, listed->second);
}

Urls urls_to_resolve(const InitialCluster& cluster, const std::vector<Member>& existing) {
  const auto pairing = Pairing::by_text(cluster, existing);
  Urls result;
  if (!pairing) return result;
  for (std::size_t i = 0; i < existing.size(); i++) {
    if (!pairing->names[i].empty()) continue;
    for (const auto& [name, listed] : cluster) {
      if (pairing->taken(name)) continue;
      std::ranges::move(urls_to_resolve(pairing->urls[i], listed), std::back_inserter(result));
    }
  }
  return result;
}

base::Result<std::vector<Member>, ConfigError> match_existing(const InitialCluster& cluster,
                                                              const std::vector<Member>& existing,
                                                              const ResolvedHosts& resolved) {
  if (existing.size() != cluster.size()) return bad("member count is unequal");
  ASSIGN_OR_RETURN(Pairing pairing, Pairing::by_text(cluster, existing));
  std::vector<Member> members;
  for (std::size_t i = 0; i < existing.size(); i++) {
    std::string cause = "<nil>";
    const auto equals = [&](const Urls& urls, const Urls& listed) {
      const auto why = why_unequal(urls, listed, resolved);
      if (why) cause = *why;
      return !why;
    };
    if (pairing.names[i].empty() && !pairing.find(i, cluster, equals)) {
      return bad(no_match(existing[i], cause));
    }
    members.push_back({.id = existing[i].id,
                       .peer_urls = to_texts(cluster.find(pairing.names[i])->second),
                       .is_learner = existing[i].is_learner,
                       .name = pairing.names[i],
                       .client_urls = {}});
  }
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  return members;
}

std::vector<BootstrapEntry> bootstrap_entries(const std::vector<Member>& members) {
  std::vector<BootstrapEntry> entries;
  for (const Member& member : members) {
    raftpb::ConfChange change;
    change.set_type(raftpb::ConfChangeAddNode);
    change.set_node_id(member.id);
    change.set_context(member_json(member));
    entries.push_back({.node_id = member.id, .data = change.SerializeAsString()});
  }
  std::sort(entries.begin(), entries.end(),
            [](const BootstrapEntry& a, const BootstrapEntry& b) { return a.node_id < b.node_id; });
  return entries;
}

}  // namespace keelson::membership
