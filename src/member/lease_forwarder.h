// LeaseForwarder: questions about leases to the member that leads, from one io lane of one that
// does not. api.md 4.1, formats.md 6.1.
//
//   ask --> queue --> Call: peer/kept_connection.h, to the next URL --answer--> done
//
// POST /leases renews, POST /leases/internal says how long a lease lives. One attempt at each URL
// of the leader; whether to try again, and until when, is the Front's to say. So many calls are
// under way at a time, each on a connection of its own.
//
// Belongs to the lane. `done` is called in a job of it, never from within ask(), and not after this
// is destroyed.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "env/lane.h"
#include "lease/lease.h"
#include "peer/connector.h"

namespace keelson::member {

class LeaseForwarder {
 public:
  enum class Kind { kRenew, kTimeToLive };
  struct Question {
    Kind kind = Kind::kRenew;
    lease::LeaseId id = lease::kNoLease;
    bool keys = false;
    std::vector<std::string> urls;  // the leader's
  };
  enum class Errc { kNotFound, kFailed };
  struct Answer {
    base::Seconds ttl{0};
    base::Seconds granted_ttl{0};
    std::vector<std::string> keys;
  };
  using Done = base::Function<void(base::Result<Answer, Errc>)>;

  // `connector` outlives it.
  LeaseForwarder(env::Lane& lane, peer::Connector& connector, base::Duration dial_timeout);
  ~LeaseForwarder();
  LeaseForwarder(const LeaseForwarder&) = delete;
  LeaseForwarder& operator=(const LeaseForwarder&) = delete;

  // `wanted` is asked before it is sent: nobody is asked in vain.
  void ask(Question question, base::Function<bool()> wanted, Done done);

 private:
  static constexpr std::size_t kCallsMax = 16;
  class Call;
  struct Waiting {
    Question question;
    base::Function<bool()> wanted;
    Done done;
  };

  void start_next(Call& call);

  env::Lane& lane_;
  peer::Connector& connector_;
  const base::Duration dial_timeout_;
  std::deque<Waiting> queue_;  // bounded by what the Front lets wait
  std::vector<std::unique_ptr<Call>> calls_;
};

}  // namespace keelson::member
