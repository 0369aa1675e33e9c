// Prober: asks a peer each four seconds whether it is there, for the round-trip time and to see its
// clock. Internal to peer/. formats.md 6.3.
//
// Only numbers and log lines come of it. Unlike etcd there is one per peer, not one for each kind
// of connection. The interval is below the time after which a peer closes an idle connection, so
// one connection lasts.
#pragma once

#include <string>

#include "peer/kept_connection.h"
#include "peer/link.h"

namespace keelson::peer {

class Prober {
 public:
  explicit Prober(Link& link);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

 private:
  void on_tick();
  void on_report();
  void on_answer(const Answered& answered);
  void record(base::WallTime remote);
  void fail(std::string reason);

  Link& link_;
  membership::Url url_;
  KeptConnection connection_;
  base::TimePoint asked_at_;
  env::TimerId tick_ = 0;
  env::TimerId report_ = 0;

  bool healthy_ = false;
  std::string error_;
  base::Duration smoothed_{0};
  base::Duration clock_ahead_{0};  // ours, of the peer's
};

}  // namespace keelson::peer
