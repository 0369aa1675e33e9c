// Joining: what a member that has no log yet asks the others, before it boots. operations.md 2.3,
// 2.6; formats.md 6.6.
//
//   new       has anybody of the cluster seen this member at work already? Then its data was lost,
//             and it must not begin anew. Whoever is not there (yet) has not.
//   existing  who is in the cluster, and as what; does this server fit?
//
// What can be said without asking is checked first (check_first_start). Then one question after the
// other, in etcd's order. Nothing is written and nobody is told.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "env/lane.h"
#include "member/boot.h"
#include "member/config.h"
#include "peer/question.h"

namespace keelson::member {

class Joining {
 public:
  using Done = base::Function<void(base::Result<std::optional<RunningCluster>, BootError>)>;
  // In a job of `lane`; `done` is called there, once, never from within this call. nullopt for a
  // new cluster. `connector` and `config` outlive it; destroyed on the lane or when it has stopped.
  Joining(env::Lane& lane, peer::Connector& connector, const Config& config, Done done);
  Joining(const Joining&) = delete;
  Joining& operator=(const Joining&) = delete;

 private:
  using OnAnswer = base::Function<void(base::Result<peer::Answered>)>;

  void begin();
  void ask(std::string url, std::string_view path, base::Duration timeout, OnAnswer on_answer);
  void ask_next_members();
  void on_members(std::string_view url, const peer::Answered& answered);
  void check_new(const std::vector<membership::Member>& members);
  void match(const std::vector<membership::Member>& members);
  void ask_next_version();
  void ask_downgrade();
  void judge_versions();
  void finish(base::Result<std::optional<RunningCluster>, BootError> result);
  void refuse(std::string why);

  env::Lane& lane_;
  peer::Connector& connector_;
  const Config& config_;
  Done done_;
  std::vector<std::string> urls_;  // of the others, ascending
  std::size_t next_url_ = 0;
  RunningCluster running_;
  std::size_t next_member_ = 0;
  std::vector<membership::Version> versions_;  // of the cluster, as members know it
  bool downgrading_ = false;
  std::unique_ptr<peer::Question> question_;
};

}  // namespace keelson::member
