// Snapshot: the state of this member as a db file of etcd's, in a stream. api.md 9.6,
// formats.md 7.3.
//
// The lane of transfers makes it, some hundred KB at a time, and no more than a client takes: a
// slow one stops the making, and is ended where its patience costs too much. Up to then its stream
// keeps the files of the store that it has still to read. What streams hold in memory has a budget
// together, which they share with the ranges of their lane.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/context.h"
#include "proto/rpc.pb.h"

namespace keelson::api {

class SnapshotCall : public RequestHandler<etcdserverpb::SnapshotRequest> {
 public:
  SnapshotCall(Context& context, http::Call& call);
  ~SnapshotCall() override;

 private:
  struct Work;  // what is on a worker, or waits for it

  http::MethodKind kind() const override { return http::MethodKind::kServerStream; }
  void run(std::string_view bytes) override;
  void on_drained() override;

  void plan();
  void planned();
  void make_after_rest();
  void make();
  void made();
  void send_ready();
  void look();
  void fail(const base::Error& error);

  MemoryBudget::Share share_;
  std::shared_ptr<Work> work_;
  std::unique_ptr<member::HeldViews::Hold> hold_;  // while the plan needs the View
  base::TimePoint begun_;
  // Made, and not sent because the client has not taken what was before; none of them, where too
  // little was made for a message.
  std::optional<std::vector<std::string>> ready_;
  env::TimerId rest_timer_ = 0;
  env::TimerId timer_ = 0;  // to look at the client
  std::uint64_t sent_bytes_ = 0;
  std::uint64_t sent_bytes_then_ = 0;  // at the last look
};

}  // namespace keelson::api
