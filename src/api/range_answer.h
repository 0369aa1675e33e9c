// RangeAnswer: one RangeResponse, from a View to the wire.
//
//   plan (slices) -> length known -> small and in memory: one message
//                                 -> else: streamed as the windows open, values read in runs
//
// Memory does not grow with the answer: a run of rows and their bytes at a time, and what the plan
// gathers for orders other than by key (within its budget). What is not in memory is read by a
// worker.
#pragma once

#include <memory>

#include "api/context.h"
#include "proto/rpc.pb.h"

namespace keelson::api {

class RangeAnswer {
 public:
  // `request` and `call` outlive it. The call ends with the answer or an error.
  RangeAnswer(Context& context, http::Call& call, const etcdserverpb::RangeRequest& request,
              std::shared_ptr<const member::View> view);
  ~RangeAnswer();
  // `asked`: when the request came; it may have waited for its View.
  void start(base::TimePoint asked);
  // So far.
  const AnswerFigures& figures() const { return figures_; }

 private:
  class Body;
  void plan();
  void hold_view();
  void read_for_plan();
  void planned();
  bool send_row(const mvcc::RangeRow& row, const std::string& head, const std::string& tail,
                std::uint64_t length);
  bool gather(const std::string& head, const std::string& tail, std::uint64_t length);

  Context& context_;
  http::Call& call_;
  const etcdserverpb::RangeRequest& request_;
  std::shared_ptr<const member::View> view_;
  std::unique_ptr<member::HeldViews::Hold> hold_;  // from the end of the first slice on
  mvcc::RangePlan plan_;
  MemoryBudget::Share share_;  // of what the plan gathers
  Waiting waiting_;
  std::shared_ptr<bool> alive_;  // of the jobs between slices, made with the first
  base::TimePoint asked_;
  AnswerFigures figures_;
};

}  // namespace keelson::api
