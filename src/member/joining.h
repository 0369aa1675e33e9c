// Joining: what a member that has no log yet asks the others, before it boots. operations.md 2.3,
// 2.6; formats.md 6.6.
//
//   new       has anybody of the cluster seen this member at work already? Then its data was lost,
//             and it must not begin anew. Whoever is not there (yet) has not.
//   existing  who is in the cluster, and as what; does this server fit?
//
// A member without a log must not take an id under which it has voted: what it promised is
// forgotten. etcd takes the first answer that comes, and whoever lags may still list a member that
// was removed here, or has not heard yet that the one listed was at work. So:
//
//   - an answer counts when the one that gave it has just read linearizably: `/downgrade/enabled`,
//     which etcd's members serve too, is such a read, and `/members` is asked again after it. If it
//     says that this member was at work, its data was lost: refused in the words of `new`, where
//     etcd begins anew or dies of the leader's first message;
//   - who cannot read (no leader, cut off) is passed over, and all are asked again, for ten
//     seconds. After that an answer in which this member is new is taken, as etcd takes it, and one
//     in which it was at work is refused;
//   - where the others cannot read without this member's voice (one voter becomes two) there is
//     nothing to wait for: an answer in which it is new is taken at once.
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
  ~Joining();

 private:
  using OnAnswer = base::Function<void(base::Result<peer::Answered>)>;
  // In a list of members.
  enum class Trust { kMayLag, kHasRead };
  struct Answer {
    RunningCluster cluster;
    membership::MemberId self;
    bool was_at_work;  // this member, under that id
  };

  void begin();
  void check();
  void ask(std::string url, std::string_view path, base::Duration timeout, OnAnswer on_answer);
  const std::string& asked_url() const { return urls_[next_url_ - 1]; }
  void ask_next_members();
  void on_all_asked();
  void ask_members(Trust trust);
  void on_members(Trust trust, const peer::Answered& answered);
  void check_new(const std::vector<membership::Member>& members);
  void match(Trust trust, RunningCluster told);
  void weigh(Trust trust, const RunningCluster& told, const membership::ResolvedHosts& resolved);
  void ask_to_read();
  void take_over(Answer answer);
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
  std::optional<Answer> unsure_;  // the best of those that may lag: one that knows it as new
  base::TimePoint unsure_since_;  // of the first
  RunningCluster running_;        // taken over
  membership::ResolvedHosts resolved_hosts_;  // of the start
  std::size_t next_member_ = 0;
  std::vector<membership::Version> versions_;  // of the cluster, as members know it
  bool downgrading_ = false;
  std::unique_ptr<peer::Question> question_;
  std::unique_ptr<HostLookup> lookup_;
  env::TimerId timer_ = 0;
};

}  // namespace keelson::member
