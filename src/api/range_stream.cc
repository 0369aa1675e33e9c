#include "api/range_stream.h"

#include <algorithm>

#include "api/validation.h"
#include "base/varint.h"

namespace keelson::api {
namespace {

// Beyond it no chunk is made until the client has taken what there is.
constexpr std::size_t kUnsentBytesMax = std::size_t{4} << 20;
constexpr std::size_t kMemoryBudget = std::size_t{64} << 20;

}  // namespace

void RangeStreamCall::run(std::string_view) {
  if (auto bad = check_stream(request_)) return refuse(*bad);
  auto& front = context_.front;
  if (request_.serializable() || front.view()->linearizable) return begin(front.view());
  waiting_ = front.barrier([this](auto view) {
    waiting_ = 0;
    if (!view) return refuse(view.error());
    begin(*std::move(view));
  });
}

void RangeStreamCall::begin(std::shared_ptr<const member::View> view) {
  context_.front.shared().metrics.ranges_read.fetch_add(1, std::memory_order_relaxed);
  header_ = context_.header(*view);
  limit_ = std::max<std::int64_t>(request_.limit(), 0);
  if (request_.revision() <= 0) request_.set_revision(view->keys.revision);
  next_key_ = request_.key();
  // How many there are is told at the end, and is known only now: later Views may have compacted.
  auto counted = std::make_shared<etcdserverpb::RangeRequest>(request_);
  counted->set_count_only(true);
  waiting_ = context_.front.on_worker([this, view = std::move(view), counted]() -> base::Job {
    auto result = mvcc::range(view->keys, *counted, *view->reader, kMemoryBudget);
    return [this, result = std::move(result)] {
      waiting_ = 0;
      if (!result) return refuse(result.error());
      count_ = result->count;
      if (!request_.count_only()) return next_chunk();
      send_chunk({}, true);
      finish({});
    };
  });
}

void RangeStreamCall::next_chunk() {
  if (call_.unsent_bytes() > kUnsentBytesMax) return;  // on_drained goes on
  making_ = true;
  auto chunk = std::make_shared<etcdserverpb::RangeRequest>(request_);
  chunk->set_key(next_key_);
  chunk->set_limit(limit_ == 0 ? chunk_keys_ : std::min(chunk_keys_, limit_ - sent_));
  waiting_ = context_.front.on_worker([this, view = context_.front.view(), chunk]() -> base::Job {
    auto result = mvcc::range(view->keys, *chunk, *view->reader, kMemoryBudget);
    return [this, result = std::move(result)]() mutable {
      waiting_ = 0;
      making_ = false;
      made(std::move(result));
    };
  });
}

void RangeStreamCall::on_drained() {
  if (!making_ && !next_key_.empty()) next_chunk();
}

void RangeStreamCall::made(base::Result<mvcc::RangeResult, mvcc::Errc> result) {
  if (!result && result.error() == mvcc::Errc::kTooMuchMemory && chunk_keys_ > 1) {
    chunk_keys_ = std::max<std::int64_t>(chunk_keys_ / 8, 1);  // keys much larger than those before
    return next_chunk();
  }
  if (!result) return refuse(result.error());
  sent_ += static_cast<std::int64_t>(result->kvs.size());
  const bool limit_reached = limit_ > 0 && sent_ >= limit_;
  const bool last = !result->more || limit_reached || request_.range_end().empty();
  if (!last) next_key_ = std::string(base::encoded_key(result->kvs.back())) + '\0';
  send_chunk(*result, last);
  if (last) {
    next_key_.clear();
    return finish({});
  }
  next_chunk();
}

void RangeStreamCall::send_chunk(const mvcc::RangeResult& result, bool last) {
  std::string body;
  if (last) base::put_message_field(body, 1, encode(header_));
  for (const base::SharedBytes& kv : result.kvs) {
    put_kv_prefix(body, kv.size());
    body += kv.view();
  }
  // A count alone leaves nothing out, so there is no more of it.
  const bool more = limit_ > 0 && count_ > limit_ && !request_.count_only();
  if (last) body += range_tail(more, count_);
  // Chunks near the size of a request: fewer of small keys, few of large ones.
  const std::size_t size_max = context_.front.config().request_bytes_max;
  if (body.size() < size_max / 2) chunk_keys_ *= 2;
  if (body.size() > size_max * 2) chunk_keys_ = std::max<std::int64_t>(chunk_keys_ / 2, 1);
  std::string message;
  base::put_message_field(message, 1, body);
  call_.send(std::move(message));
}

}  // namespace keelson::api
