// Prober: asks a peer each four seconds whether it is there, for the round-trip time and to see its
// clock. Internal to peer/. formats.md 6.3.
//
// Only numbers and log lines come of it. Unlike etcd there is one per peer, not one for each kind
// of connection. The interval is below the time after which a peer closes an idle connection, so
// one connection lasts.
#pragma once

#include <memory>
#include <string>

#include "http/http1_client.h"
#include "peer/link.h"

namespace keelson::peer {

class Prober final : private http::ResponseHandler {
 public:
  explicit Prober(Link& link);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

 private:
  void on_tick();
  void on_report();
  void ask();
  void record(base::WallTime remote);
  void fail(std::string reason);

  void on_head(const http::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_end() override;
  void on_failed(const http::RequestFailure& failure) override;

  Link& link_;
  membership::Url url_;
  std::unique_ptr<http::Http1Client> client_;
  bool under_way_ = false;
  base::TimePoint asked_at_;
  int status_ = 0;
  std::string answer_;
  env::TimerId tick_ = 0;
  env::TimerId report_ = 0;

  bool healthy_ = false;
  std::string error_;
  base::Duration smoothed_{0};
  base::Duration clock_ahead_{0};  // ours, of the peer's
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace keelson::peer
