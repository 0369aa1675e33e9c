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

std::string counts_differ(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return fmt::format("len({}) != len({})", base::quote(a), base::quote(b));
}

// Nothing that DNS could say.
bool is_resolved(const Url& url) {
  const std::string host = url.hostname();
  return url.scheme.starts_with("unix") || host == "localhost" ||
         host.find(':') != std::string::npos ||
         host.find_first_not_of("0123456789.") == std::string::npos;
}

// Why lists of one length are not equal. `given`: what whoever asked DNS says.
std::string cause_of(const std::vector<std::string>& advertised,
                     const std::vector<std::string>& listed, std::string_view given) {
  for (std::size_t i = 0; i < advertised.size(); i++) {
    const auto a = parse_url(advertised[i]), b = parse_url(listed[i]);
    if (!a || !b || !is_resolved(*a) || !is_resolved(*b)) break;
    if (equal_urls({*a}, {*b})) continue;
    return fmt::format("resolved urls: {} != {}", base::quote(advertised[i]),
                       base::quote(listed[i]));
  }
  return std::string(given);
}

base::Result<void, ConfigError> check_advertised(const BootstrapCheck& check) {
  const Urls& listed = check.cluster.find(check.name)->second;
  const Urls& advertised = check.advertised_peer_urls;
  if (equal_urls(advertised, listed)) return {};
  const bool same_count = advertised.size() == listed.size();
  if (check.resolved && same_count) return {};

  auto advertised_texts = to_texts(advertised);
  std::sort(advertised_texts.begin(), advertised_texts.end());
  auto listed_texts = to_texts(listed);
  std::sort(listed_texts.begin(), listed_texts.end());
  const std::string cause = same_count
                                ? cause_of(advertised_texts, listed_texts, check.resolve_error)
                                : counts_differ(advertised_texts, listed_texts);
  const std::string advertised_text = fmt::format("{}", fmt::join(advertised_texts, ","));
  const std::string as_cluster = to_text(InitialCluster{{std::string(check.name), advertised}});

  auto missing = missing_from(listed, advertised);
  if (!missing.empty()) {
    for (std::string& url : missing) url = fmt::format("{}={}", check.name, url);
    return bad(fmt::format(
        "--initial-cluster has {} but missing from --initial-advertise-peer-urls={} ({})",
        fmt::join(missing, ","), advertised_text, cause));
  }
  missing = missing_from(advertised, listed);
  if (!missing.empty()) {
    return bad(
        fmt::format("--initial-advertise-peer-urls has {} but missing from --initial-cluster={}",
                    fmt::join(missing, ","), as_cluster));
  }
  return bad(fmt::format("failed to resolve {} to match --initial-cluster={} ({})", advertised_text,
                         as_cluster, cause));
}

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

base::Result<std::vector<Member>, ConfigError> match_existing(const InitialCluster& cluster,
                                                              const std::vector<Member>& existing) {
  if (existing.size() != cluster.size()) return bad("member count is unequal");
  std::vector<Member> members;
  std::set<std::string> taken;
  for (const Member& known : existing) {
    std::string cause = "<nil>";
    const auto urls = parse_urls(known.peer_urls);
    const auto match = std::find_if(cluster.begin(), cluster.end(), [&](const auto& listed) {
      if (taken.contains(listed.first)) return false;
      const auto texts = to_texts(listed.second);
      if (texts.size() != known.peer_urls.size()) cause = counts_differ(known.peer_urls, texts);
      return urls.ok() && equal_urls(*urls, listed.second);
    });
    if (match == cluster.end()) {
      return bad(fmt::format(
          "PeerURLs: no match found for existing member ({}, [{}]), last resolver error ({})",
          id_text(known.id), fmt::join(known.peer_urls, " "),
          urls.ok() ? cause : urls.error().text));
    }
    taken.insert(match->first);
    members.push_back({.id = known.id,
                       .peer_urls = to_texts(match->second),
                       .is_learner = known.is_learner,
                       .name = match->first,
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
