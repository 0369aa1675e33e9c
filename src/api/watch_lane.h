// WatchLane: the owner of one io lane's watch hub. It feeds the hub with the batches that apply
// hands over, lets it deliver in jobs that stay short, has history read on a worker for watchers
// that are behind, and wakes those whose stream was full.
//
//   Front --batch--> Hub --responses--> WatchCalls
//   Hub --a round wants history--> worker, over the newest View --slice--> Hub
//
// The hub is made with the first stream: before that nobody is behind.
//
// What it bounds: bytes unsent of one stream (kUnsentBytesMax), and less per stream while the whole
// lane has much unsent. A stream beyond is not told anything but answers; its events are caught up
// when it has drained.
//
// Touched by its lane only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "api/watch_metrics.h"
#include "base/random.h"
#include "http/grpc.h"
#include "http/server.h"
#include "member/front.h"
#include "watch/hub.h"

namespace keelson::api {

class WatchLane : public member::BatchListener {
 public:
  explicit WatchLane(member::Front& front);
  ~WatchLane() override;
  WatchLane(const WatchLane&) = delete;
  WatchLane& operator=(const WatchLane&) = delete;

  // The lane's server, to see how much it has unsent. Before the first stream.
  void measure(const http::ServerStats& stats) { server_stats_ = &stats; }

  member::Front& front() { return front_; }
  WatchMetrics& metrics() { return metrics_; }
  watch::Hub& hub();
  const mvcc::View& published() { return front_.view()->keys; }
  // Something was asked of the hub: looks for what follows from it, as another job.
  void asked();

  // How many bytes of answers one stream may have waiting before it is full.
  std::size_t unsent_bytes_max() const;
  // Until the next progress notification of a stream; up to a tenth longer, by chance.
  base::Duration progress_interval();
  // Field `header` of a WatchResponse at `revision`. The view ends with the next call.
  std::string_view header_field(std::int64_t revision);

  // The beginning of a WatchResponse, to be added to and sent before the next call: one buffer
  // serves all.
  std::string& begin_response(std::int64_t revision) {
    response_ = header_field(revision);
    return response_;
  }

  void on_batch(const std::shared_ptr<const mvcc::EventBatch>& events) override;
  void on_batches_lost() override;

 private:
  void work();
  void begin_round();
  void watch_victims();
  void report();

  member::Front& front_;
  const http::ServerStats* server_stats_ = nullptr;
  WatchMetrics metrics_;
  base::Random random_;
  std::optional<watch::Hub> hub_;
  bool work_scheduled_ = false;
  member::Ticket round_ticket_ = 0;
  env::TimerId victims_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false for jobs that outlive it

  std::int64_t header_revision_ = -1;
  raft::Term header_term_ = 0;
  std::string header_field_;
  std::string response_;

  watch::Hub::Stats reported_;
};

}  // namespace keelson::api
