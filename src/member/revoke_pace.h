// RevokePace: how many expired leases a leader lets go a second. Members of this kind take ten
// thousand; while a member of etcd is in the cluster it is a thousand, as many as etcd's own leader
// proposes, and fewer while such a member does not get its entries applied. api.md 4.2
//
//   decide (each look of the Publisher) --> all are ours: no limit
//                                       \-> others: limited --look, each second--> asks them
//
// How far a member of etcd is with applying is not told anywhere. But its peer port answers a
// question about a lease only once all that is committed there is applied, and with 408 if that
// takes more than a second: so it is asked about a lease that cannot be, while revokes are made.
//
// Jobs of one io lane. The raft lane reads Progress::revokes_per_second, and sets it back to the
// limit whenever this member comes to lead or the members change: whoever is not known is taken for
// etcd's.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "member/front.h"
#include "peer/question.h"

namespace keelson::member {

inline constexpr std::uint32_t kRevokesUnlimited = 0;
inline constexpr std::uint32_t kRevokesPerSecond = 1000;  // with others
inline constexpr std::uint32_t kRevokesPerSecondMin = 50;

class RevokePace {
 public:
  explicit RevokePace(Front& front) : front_(front) {}
  ~RevokePace() { stop(); }
  RevokePace(const RevokePace&) = delete;
  RevokePace& operator=(const RevokePace&) = delete;

  // What a member's answer shows it to be; who does not answer stays what it was.
  void heard(membership::MemberId id, bool is_ours);
  // All that answer this time have.
  void decide();
  void stop();

 private:
  void arm();
  void look();
  bool is_ours(const membership::Member& member) const;
  void ask(const membership::Member& member);
  void on_answer(bool lags);
  std::atomic<std::uint32_t>& pace();

  Front& front_;
  std::set<membership::MemberId> ours_;
  env::TimerId timer_ = 0;
  std::uint64_t revokes_seen_ = 0;
  std::vector<std::unique_ptr<peer::Question>> questions_;
  std::size_t unanswered_ = 0;
  bool somebody_lags_ = false;
};

}  // namespace keelson::member
