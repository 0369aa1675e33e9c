// RangeStream: a range as many small answers. api.md 2.4.
//
// The revision is pinned by the first View; each chunk reads from a View of its own, so a long
// stream holds no history from being collected and ends with kCompacted if its revision is. A slow
// client stops the making of chunks, not the lane.
#pragma once

#include <memory>

#include "api/context.h"
#include "proto/rpc.pb.h"

namespace keelson::api {

class RangeStreamCall : public RequestHandler<etcdserverpb::RangeRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  http::MethodKind kind() const override { return http::MethodKind::kServerStream; }
  void run(std::string_view bytes) override;
  void on_drained() override;

  void begin(std::shared_ptr<const member::View> view);
  void next_chunk();
  void made(base::Result<mvcc::RangeResult, mvcc::Errc> result);
  void send_chunk(const mvcc::RangeResult& result, bool last);

  Header header_;          // of the first View
  std::int64_t sent_ = 0;  // kvs so far
  std::int64_t chunk_keys_ = 10;
  std::int64_t limit_ = 0;  // 0 = none
  std::int64_t count_ = 0;  // all keys of the range
  bool making_ = false;
  std::string next_key_;
};

}  // namespace keelson::api
