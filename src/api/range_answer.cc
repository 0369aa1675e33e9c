#include "api/range_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/varint.h"

namespace keelson::api {
namespace {

constexpr std::size_t kKeysPerSlice = 5000;  // some 100 us
// A run is so many rows, fewer of large ones (RunPool).
constexpr std::size_t kRowsPerRun = 256;
constexpr std::size_t kMemoryBudget = std::size_t{256} << 20;
// Up to here an answer is made in one piece.
constexpr std::uint64_t kWholeBytesMax = 64 << 10;
// A gzip answer is compressed as a whole, so it must be gathered.
constexpr std::uint64_t kGzipBytesMax = std::uint64_t{64} << 20;

// The rows of one run as field `kvs`, or what kept it from being made.
struct Run {
  std::string bytes;  // of a whole answer
  std::string made;
  std::vector<mvcc::RangeRow> rows;
  std::vector<base::Revision> revisions;
  std::vector<base::ReadResult> read;

  void take(std::vector<mvcc::RangeRow> next) {
    rows = std::move(next);
    revisions.clear();
    for (const mvcc::RangeRow& row : rows) revisions.push_back(row.version.mod);
    read.assign(rows.size(), {});
  }
  // True if everything is here or failed for good.
  bool complete() const {
    return std::none_of(read.begin(), read.end(), [](const base::ReadResult& one) {
      return one.state == base::ReadResult::State::kCold;
    });
  }
  bool failed() const {
    return std::any_of(read.begin(), read.end(), [](const base::ReadResult& one) {
      return one.state == base::ReadResult::State::kError;
    });
  }
  // Of what is read.
  std::size_t read_bytes() const {
    return std::accumulate(
        read.begin(), read.end(), std::size_t{0},
        [](std::size_t sum, const base::ReadResult& one) { return sum + one.bytes.size(); });
  }
  // The KeyValue of the i-th row; valid until the next is asked for.
  std::string_view kv(std::size_t i, bool rows_are_complete, bool keys_only) {
    if (!rows_are_complete) return read[i].bytes;
    if (!rows[i].encoded.empty() || !keys_only) return rows[i].encoded;
    made = mvcc::encode_keys_only(rows[i].key, rows[i].version);
    return made;
  }
  // What the rows, each read, look like on the wire.
  base::SharedBytes encoded() const {
    std::size_t size = 0;
    for (const base::ReadResult& one : read) size += kKvPrefixBytesMax + one.bytes.size();
    std::string out;
    out.reserve(size);
    for (const base::ReadResult& one : read) {
      put_kv_prefix(out, one.bytes.size());
      out += one.bytes.view();
    }
    return base::SharedBytes(std::move(out));
  }
  void encode(bool rows_are_complete, bool keys_only) {
    for (std::size_t i = 0; i < rows.size(); i++) {
      const std::string_view one = kv(i, rows_are_complete, keys_only);
      put_kv_prefix(bytes, one.size());
      bytes += one;
    }
    rows.clear();
  }
};

}  // namespace

// Header, then runs of rows, then the tail; runs are read when the wire asks for them, by one for
// all who are at the same place. While the wire asks for nothing a run may be dropped; it is read
// again and sent on from where it was.
class RangeAnswer::Body : public http::BodySource, private RunPool::Holder {
 public:
  Body(Context& context, http::Call& call, std::shared_ptr<const member::View> view,
       mvcc::RangePlan plan, MemoryBudget::Share share, bool keys_only, std::string head,
       std::string tail)
      : front_(context.front),
        shared_runs_(context.shared_runs),
        party_(context.shared_runs),
        pool_(context.run_pool),
        call_(call),
        view_(std::move(view)),
        plan_(std::move(plan)),
        share_(std::move(share)),
        keys_only_(keys_only),
        prefix_(std::move(head)),
        tail_(std::move(tail)),
        hold_(front_.held_views().hold(*view_, [this] { call_.abandon(); })),
        waiting_(context.front),
        piece_(prefix_) {}
  ~Body() override { pool_.release(*this); }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  Pulled pull(std::span<char> out) override {
    pool_.touch(*this);
    std::size_t count = 0;
    while (count < out.size() && (!piece_.empty() || next_piece())) {
      const std::size_t length = std::min(out.size() - count, piece_.size());
      std::copy_n(piece_.data(), length, out.data() + count);
      piece_.remove_prefix(length);
      count += length;
    }
    if (count > 0) return count;
    return reading_ ? Pulled(Wait{}) : unreadable();
  }

 private:
  static Failed unreadable() { return {status_of(mvcc::Errc::kUnreadable)}; }

  // Makes piece_ the next bytes: of each row its prefix, then its KeyValue where it lies; false if
  // they must wait or cannot be had.
  bool next_piece() {
    if (reading_ || failed_) return false;
    if (std::exchange(dropped_, false)) {
      if (!read_run()) return false;
      if (!piece_.empty()) return true;
    }
    if (at_ == run_->rows.size() && !next_run()) return false;
    if (at_ == run_->rows.size()) {  // all rows are sent
      CHECK(!tail_.empty());         // not asked beyond the announced length
      prefix_ = std::exchange(tail_, {});
      piece_ = prefix_;
      return true;
    }
    next_of_run();
    return true;
  }

  void next_of_run() {
    if (!whole_run_.empty()) {
      piece_ = whole_run_;
      at_ = run_->rows.size();
    } else if (!prefix_sent_) {
      kv_ = run_->kv(at_, plan_.rows_are_complete(), keys_only_);
      prefix_.clear();
      put_kv_prefix(prefix_, kv_.size());
      piece_ = prefix_;
      prefix_sent_ = true;
    } else {
      piece_ = kv_;
      at_++;
      prefix_sent_ = false;
    }
    handed_ += piece_.size();
  }

  // Reads the next run of rows, none at the end; false if that must wait or has failed.
  bool next_run() {
    pool_.release(*this);
    at_ = 0;
    handed_ = 0;
    whole_run_ = {};
    run_->take(plan_.next_rows(kRowsPerRun, pool_.run_bytes()));
    if (plan_.rows_are_complete() || run_->rows.empty()) return true;
    return read_run();
  }

  // What the rows of the run hold; false if that must wait or has failed.
  bool read_run() {
    whole_run_ = shared_runs_.find(run_->revisions);
    if (whole_run_.empty()) {
      view_->reader->try_read(run_->revisions, run_->read);
      if (!run_->complete()) {
        read_on_worker();
        return false;
      }
    }
    have_read();
    return !failed_;
  }

  void have_read() {
    failed_ = run_->failed();
    if (failed_) return;
    if (whole_run_.empty() && shared_runs_.wanted()) {
      whole_run_ = run_->encoded();
      run_->read.clear();
      shared_runs_.keep(run_->revisions, whole_run_);
    }
    pool_.hold(*this, whole_run_.empty() ? run_->read_bytes() : whole_run_.size());
    go_on_behind(std::exchange(handed_, 0));
  }

  // Of a run that was dropped: those bytes of it have left.
  void go_on_behind(std::size_t sent) {
    while (sent > 0) {
      next_of_run();
      const std::size_t skipped = std::min(sent, piece_.size());
      piece_.remove_prefix(skipped);
      sent -= skipped;
    }
  }

  void drop_run() override {
    const bool is_sent = at_ == run_->rows.size() && piece_.empty();
    handed_ -= piece_.size();
    piece_ = kv_ = {};
    whole_run_ = {};
    run_->take(std::move(run_->rows));
    if (is_sent) return;
    at_ = 0;
    prefix_sent_ = false;
    dropped_ = true;
  }

  void read_on_worker() {
    reading_ = true;
    // The run and the View go along, so a call that ends meanwhile takes nothing from under the
    // worker.
    waiting_ = front_.on_worker([this, run = run_, view = view_]() -> base::Job {
      view->reader->read(run->revisions, run->read);
      return [this] {
        waiting_ = 0;
        reading_ = false;
        have_read();
        call_.resume();
      };
    });
  }

  member::Front& front_;
  SharedRuns& shared_runs_;
  const SharedRuns::Party party_;
  RunPool& pool_;
  http::Call& call_;
  std::shared_ptr<const member::View> view_;
  mvcc::RangePlan plan_;
  const MemoryBudget::Share share_;  // of its rows, which it keeps to the end
  const bool keys_only_;
  std::string prefix_;  // of one row; first the head of the answer, at last its tail
  std::string tail_;
  std::unique_ptr<member::HeldViews::Hold> hold_;  // told to end, it abandons the call
  std::shared_ptr<Run> run_ = std::make_shared<Run>();
  base::SharedBytes whole_run_;  // its rows as they are sent, if others are there to share it
  std::size_t at_ = 0;           // rows of the run that are sent
  std::size_t handed_ = 0;       // bytes of it that piece_ was given so far
  bool dropped_ = false;         // the run is to be read again
  bool prefix_sent_ = false;     // of the next one
  bool reading_ = false;
  bool failed_ = false;
  Waiting waiting_;
  std::string_view piece_;  // bytes to send next
  std::string_view kv_;     // to follow them if they are a prefix
};

RangeAnswer::RangeAnswer(Context& context, http::Call& call,
                         const etcdserverpb::RangeRequest& request,
                         std::shared_ptr<const member::View> view)
    : context_(context),
      call_(call),
      request_(request),
      view_(std::move(view)),
      plan_(view_->keys, request, kMemoryBudget),
      share_(context.gathered),
      waiting_(context.front) {}

RangeAnswer::~RangeAnswer() {
  if (alive_) *alive_ = false;
}

void RangeAnswer::start(base::TimePoint asked) {
  asked_ = asked;
  context_.front.shared().metrics.ranges_read.fetch_add(1, std::memory_order_relaxed);
  plan();
}

void RangeAnswer::plan() {
  const auto status = plan_.step(kKeysPerSlice);
  if (!share_.set(plan_.memory_bytes())) {
    return call_.finish(status_of(mvcc::Errc::kTooMuchMemory));
  }
  switch (status) {
    case mvcc::RangePlan::Status::kMore:
      hold_view();
      if (!alive_) alive_ = std::make_shared<bool>(true);
      context_.front.lane().post([this, alive = alive_] {
        if (*alive) plan();
      });
      return;
    case mvcc::RangePlan::Status::kNeed:
      return read_for_plan();
    case mvcc::RangePlan::Status::kFailed:
      return call_.finish(status_of(plan_.error()));
    case mvcc::RangePlan::Status::kDone:
      return planned();
  }
}

void RangeAnswer::hold_view() {
  if (hold_) return;
  hold_ = context_.front.held_views().hold(
      *view_, [this] { call_.finish(status_of(RequestErrc::kHeldTooLong)); });
}

void RangeAnswer::read_for_plan() {
  hold_view();
  const auto needed = plan_.needed();
  std::vector<base::ReadResult> read(needed.size());
  view_->reader->try_read(needed, read);
  const bool cold = std::any_of(read.begin(), read.end(), [](const base::ReadResult& one) {
    return one.state == base::ReadResult::State::kCold;
  });
  if (!cold) {
    plan_.feed(read);
    return plan();
  }
  std::vector<base::Revision> revisions(needed.begin(), needed.end());
  waiting_ = context_.front.on_worker(
      [this, view = view_, revisions = std::move(revisions)]() -> base::Job {
        std::vector<base::ReadResult> read(revisions.size());
        view->reader->read(revisions, read);
        return [this, read = std::move(read)]() mutable {
          plan_.feed(read);
          plan();
        };
      });
}

void RangeAnswer::planned() {
  const base::TimePoint now = context_.front.lane().clock().now();
  context_.front.shared().metrics.range_seconds.observe(now - asked_);
  context_.front.request_times().observe(member::RequestKind::kRange, true, now - asked_);
  const HeaderBytes header = encode(context_.header(*view_));
  std::string head;
  head.reserve(base::message_field_size(1, header.size()));
  base::put_message_field(head, 1, header);
  std::string tail = range_tail(plan_.more(), plan_.count());
  const std::uint64_t length = head.size() + plan_.encoded_bytes() + tail.size();
  figures_ = {.count = plan_.count(),
              .bytes = static_cast<std::int64_t>(length),
              .was_made = true,
              .txn_succeeded = false};
  if (is_slow_read(context_.front, now - asked_)) {
    log_slow_read(context_.front, now - asked_, "read-only range ", text_of(request_),
                  fmt::format("range_response_count:{} size:{}", plan_.rows(), length));
  }
  const bool whole = length <= kWholeBytesMax || call_.gzip();
  if (call_.gzip() && length > kGzipBytesMax) {
    return call_.finish(status_of(mvcc::Errc::kTooMuchMemory));
  }
  if (whole && gather(head, tail, length)) return;
  call_.send_streamed(
      length, std::make_unique<Body>(context_, call_, view_, std::move(plan_), std::move(share_),
                                     request_.keys_only(), std::move(head), std::move(tail)));
  call_.finish({});
}

// What most callers ask for, with one allocation; false (and nothing sent) if the row is cold.
bool RangeAnswer::send_row(const mvcc::RangeRow& row, const std::string& head,
                           const std::string& tail, std::uint64_t length) {
  base::ReadResult read;
  view_->reader->try_read({&row.version.mod, 1}, {&read, 1});
  if (read.state == base::ReadResult::State::kCold) return false;
  if (read.state == base::ReadResult::State::kError) {
    call_.finish(status_of(mvcc::Errc::kUnreadable));
    return true;
  }
  std::string message;
  message.reserve(length);
  message += head;
  put_kv_prefix(message, read.bytes.size());
  message += read.bytes.view();
  message += tail;
  call_.send(std::move(message));
  call_.finish({});
  return true;
}

// The whole answer at once if everything is in memory; false (and nothing sent) if it is to be
// streamed.
bool RangeAnswer::gather(const std::string& head, const std::string& tail, std::uint64_t length) {
  if (plan_.rows() > kRowsPerRun && !call_.gzip()) return false;
  auto rows = plan_.next_rows(plan_.rows());
  if (rows.size() == 1 && !plan_.rows_are_complete() &&
      send_row(rows.front(), head, tail, length)) {
    return true;
  }
  auto run = std::make_shared<Run>();
  run->take(std::move(rows));
  run->bytes.reserve(length);
  run->bytes = head;
  const auto send = [this, run, tail] {
    if (run->failed()) return call_.finish(status_of(mvcc::Errc::kUnreadable));
    run->encode(plan_.rows_are_complete(), request_.keys_only());
    run->bytes += tail;
    call_.send(std::move(run->bytes));
    call_.finish({});
  };
  if (plan_.rows_are_complete()) {
    run->read.clear();
    send();
    return true;
  }
  view_->reader->try_read(run->revisions, run->read);
  if (run->complete()) {
    send();
    return true;
  }
  waiting_ = context_.front.on_worker([run, view = view_, send]() -> base::Job {
    view->reader->read(run->revisions, run->read);
    return send;
  });
  return true;
}

}  // namespace keelson::api
