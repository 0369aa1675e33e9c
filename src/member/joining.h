// Joining: what a member that has no log yet asks the others, before it boots. operations.md 2.3,
// 2.6; formats.md 6.6.
//
//   new       has anybody of the cluster seen this member at work already? Then its data was lost,
//             and it must not begin anew. Whoever is not there (yet) has not.
//   existing  who is in the cluster, and as what; does this server fit? As in etcd the first answer
//             decides, unless it says that this member has run before: then one that knows it as
//             new does, if there is any.
//
// Both begin with what can be said without asking the others (check_first_start), after DNS was
// asked where URLs with names are to be those with IPs (member/host_lookup.h). Then one question
// after the other, in etcd's order. Nothing is written and nobody is told.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "env/lane.h"
#include "env/resolver.h"
#include "member/boot.h"
#include "member/config.h"
#include "member/host_lookup.h"
#include "peer/question.h"

namespace keelson::member {

class Joining {
 public:
  // What the first start goes on with: for Config's fields of these names.
  struct Joined {
    std::optional<RunningCluster> running;  // nullopt for a new cluster
    membership::ResolvedHosts resolved_hosts;
  };
  using Done = base::Function<void(base::Result<Joined, BootError>)>;
  // In a job of `lane`; `done` is called there, once, never from within this call. The references
  // outlive it; destroyed on the lane or when it has stopped.
  Joining(env::Lane& lane, peer::Connector& connector, env::Resolver& resolver,
          const Config& config, Done done);
  Joining(const Joining&) = delete;
  Joining& operator=(const Joining&) = delete;

 private:
  using OnAnswer = base::Function<void(base::Result<peer::Answered>)>;

  void begin();
  void check();
  void ask(std::string url, std::string_view path, base::Duration timeout, OnAnswer on_answer);
  void ask_next_members();
  void on_members(std::string_view url, const peer::Answered& answered);
  void check_new(const std::vector<membership::Member>& members);
  void match(std::vector<membership::Member> members);
  void take_over(const std::vector<membership::Member>& members,
                 const membership::ResolvedHosts& resolved);
  bool has_run(const std::vector<membership::Member>& members) const;
  void ask_next_version();
  void ask_downgrade();
  void judge_versions();
  void finish(std::optional<RunningCluster> running);
  void refuse(std::string why);

  env::Lane& lane_;
  peer::Connector& connector_;
  env::Resolver& resolver_;
  const Config& config_;
  Done done_;
  std::vector<std::string> urls_;  // of the others, ascending
  std::size_t next_url_ = 0;
  RunningCluster running_;
  std::optional<RunningCluster> doubted_;     // an answer in which this member has run before
  membership::ResolvedHosts resolved_hosts_;  // of the start
  std::size_t next_member_ = 0;
  std::vector<membership::Version> versions_;  // of the cluster, as members know it
  bool downgrading_ = false;
  std::unique_ptr<peer::Question> question_;
  std::unique_ptr<HostLookup> lookup_;
};

}  // namespace keelson::member
