#include "mvcc/range.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/varint.h"
#include "mvcc/overlay.h"
#include "mvcc/range_internal.h"
#include "mvcc/record.h"

namespace keelson::mvcc {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;

namespace {

constexpr std::size_t kStepBudget = 4096;  // of calls that run a plan to its end at once

// The order rows are answered in, from target and order as asked for. api.md 2.3.
struct Ordering {
  RangeRequest::SortTarget target = RangeRequest::KEY;
  bool descending = false;
  bool natural = true;        // of the index: ascending by key
  bool limits_early = false;  // order NONE with another target: the first limit + 1 keys only

  static Ordering of(const RangeRequest& request) {
    Ordering ordering;
    ordering.target = request.sort_target();
    ordering.descending = request.sort_order() == RangeRequest::DESCEND;
    ordering.natural = ordering.target == RangeRequest::KEY && !ordering.descending;
    ordering.limits_early = request.sort_order() == RangeRequest::NONE && !ordering.natural;
    return ordering;
  }
};

struct Filters {
  std::int64_t min_mod = 0, max_mod = 0, min_create = 0, max_create = 0;  // 0: off

  static Filters of(const RangeRequest& request) {
    return {.min_mod = request.min_mod_revision(),
            .max_mod = request.max_mod_revision(),
            .min_create = request.min_create_revision(),
            .max_create = request.max_create_revision()};
  }
  bool any() const { return min_mod != 0 || max_mod != 0 || min_create != 0 || max_create != 0; }
  bool pass(const Version& version) const {
    const std::int64_t mod = version.mod.main, create = version.create_revision;
    return (min_mod == 0 || mod >= min_mod) && (max_mod == 0 || mod <= max_mod) &&
           (min_create == 0 || create >= min_create) && (max_create == 0 || create <= max_create);
  }
};

// A row that waits for its place in the order.
struct GatheredRow {
  Version version;
  std::uint64_t place = 0;    // among the range's keys, ascending
  std::string key;            // keys_only rows
  base::SharedBytes encoded;  // sorted by value
  KeyValueView kv;            // likewise; views into `encoded`

  std::size_t cost() const { return sizeof(GatheredRow) + key.size() + encoded.size(); }
};

int compare(std::int64_t a, std::int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

// Whether `a` is answered before `b`. Equal ones stay in the order of their keys, whatever the
// direction.
struct AnsweredBefore {
  Ordering ordering;

  int by_target(const GatheredRow& a, const GatheredRow& b) const {
    switch (ordering.target) {
      case RangeRequest::VERSION:
        return compare(a.version.version, b.version.version);
      case RangeRequest::CREATE:
        return compare(a.version.create_revision, b.version.create_revision);
      case RangeRequest::MOD:
        return compare(a.version.mod.main, b.version.mod.main);
      case RangeRequest::VALUE:
        return a.kv.value.compare(b.kv.value);
      default:
        return a.place < b.place ? -1 : a.place > b.place ? 1 : 0;
    }
  }
  bool operator()(const GatheredRow& a, const GatheredRow& b) const {
    const int order = by_target(a, b);
    if (order != 0) return ordering.descending ? order > 0 : order < 0;
    return a.place < b.place;
  }
};

std::uint64_t row_bytes(std::size_t encoded) {
  return base::message_field_size(RangeResponse::kKvsFieldNumber, encoded);
}

KeyValueView keys_only_view(std::string_view key, const Version& version) {
  return {.key = key,
          .create_revision = version.create_revision,
          .mod_revision = version.mod.main,
          .version = version.version};
}

KeyValueView without_value(KeyValueView kv) {
  kv.value = {};
  return kv;
}

}  // namespace

// looking --(a run of values is wanted)--> waiting --feed--> looking
// looking --(all keys seen)--> ordering --> done;   any --(error)--> failed
struct RangePlan::Impl {
  enum class Phase : std::uint8_t { kLooking, kWaiting, kOrdering, kDone, kFailed };

  Impl(const View& view, const RangeRequest& request, std::size_t budget, const Overlay* staged)
      : key(request.key()),
        range_end(request.range_end()),
        range(KeyRange::of(key, range_end)),
        index(view.index),
        overlay(request.revision() <= 0 ? staged : nullptr),
        revision(request.revision() <= 0 ? view.revision : request.revision()),
        limit(request.limit() > 0 ? static_cast<std::uint64_t>(request.limit()) : kNoLimit),
        count_only(request.count_only()),
        keys_only(request.keys_only()),
        ordering(Ordering::of(request)),
        filters(Filters::of(request)),
        memory_budget(budget),
        cursor(index, overlay, range) {
    if (revision > view.revision) fail(Errc::kFutureRevision);
    if (revision < view.compact_revision) fail(Errc::kCompacted);
    if (ordering.limits_early && !filters.any() && limit != kNoLimit) matched_max = limit + 1;
  }

  bool by_value() const { return ordering.target == RangeRequest::VALUE; }
  bool from_index() const { return keys_only && !by_value(); }

  void fail(Errc errc) {
    phase = Phase::kFailed;
    error = errc;
  }

  // What is left of the budget.
  std::size_t look(std::size_t budget) {
    for (; budget > 0 && cursor.valid() && phase == Phase::kLooking; budget--, cursor.next()) {
      looked++;
      if (const auto version = cursor.get(revision)) see(cursor.key(), *version);
    }
    if (phase != Phase::kLooking || cursor.valid()) return budget;
    phase = wanted.empty() ? Phase::kOrdering : Phase::kWaiting;
    return budget;
  }

  void see(std::string_view seen_key, const Version& version) {
    count++;
    if (count_only || !filters.pass(version) || matched == matched_max) return;
    matched++;
    if (ordering.natural) {
      if (matched <= limit) see_natural(seen_key, version);
      return;
    }
    GatheredRow row{.version = version, .place = matched};
    if (from_index()) row.key = seen_key;
    if (by_value()) {
      want(std::move(row));
    } else {
      gather(std::move(row));
    }
  }

  void see_natural(std::string_view seen_key, const Version& version) {
    encoded_bytes += row_bytes(row_length(seen_key, version));
    if (looked - looked_at_row > kDesert) deserts.push_back({matched - 1, std::string(seen_key)});
    looked_at_row = looked;
  }

  std::size_t row_length(std::string_view row_key, const Version& version) const {
    return from_index() ? encoded_size(keys_only_view(row_key, version)) : version.bytes;
  }

  // A row whose value decides on its place.
  void want(GatheredRow row) {
    needed.push_back(row.version.mod);
    wanted_bytes += row.version.bytes;
    wanted.push_back(std::move(row));
    if (gathered_bytes + wanted_bytes > memory_budget) return fail(Errc::kTooMuchMemory);
    if (wanted.size() >= kReadRun || wanted_bytes >= kReadRunBytes) phase = Phase::kWaiting;
  }

  void feed(std::span<base::ReadResult> read) {
    CHECK(phase == Phase::kWaiting);
    CHECK_EQ(read.size(), wanted.size());
    phase = Phase::kLooking;
    auto rows_read = std::exchange(wanted, {});
    needed.clear();
    wanted_bytes = 0;
    for (std::size_t i = 0; i < read.size() && phase == Phase::kLooking; i++) {
      CHECK(read[i].state != base::ReadResult::State::kCold);  // the owner reads what is cold first
      if (read[i].state != base::ReadResult::State::kBytes) return fail(Errc::kUnreadable);
      GatheredRow& row = rows_read[i];
      row.encoded = std::move(read[i].bytes);
      const auto kv = decode(row.encoded);
      if (!kv) return fail(Errc::kUnreadable);
      row.kv = *kv;
      gather(std::move(row));
    }
  }

  // Keeps the first `limit` rows of the order, as a heap with the last of them on top.
  void gather(GatheredRow row) {
    const AnsweredBefore before{ordering};
    if (gathered.size() == limit) {
      if (!before(row, gathered.front())) return;
      std::pop_heap(gathered.begin(), gathered.end(), before);
      gathered_bytes -= gathered.back().cost();
      gathered.pop_back();
    }
    gathered_bytes += row.cost();
    gathered.push_back(std::move(row));
    std::push_heap(gathered.begin(), gathered.end(), before);
    if (gathered_bytes > memory_budget) fail(Errc::kTooMuchMemory);
  }

  // Heap sort, so that it can be done in slices.
  void order(std::size_t budget) {
    for (; budget > 0 && ordered < gathered.size(); budget--, ordered++) {
      const auto end = gathered.end() - static_cast<std::ptrdiff_t>(ordered);
      std::pop_heap(gathered.begin(), end, AnsweredBefore{ordering});
      encoded_bytes += row_bytes(gathered_length(*(end - 1)));
    }
    if (ordered < gathered.size()) return;
    phase = Phase::kDone;
    if (ordering.natural) second_pass.emplace(index, overlay, range);
  }

  std::size_t gathered_length(const GatheredRow& row) const {
    if (by_value() && keys_only) return encoded_size(without_value(row.kv));
    return row_length(row.key, row.version);
  }

  std::size_t rows() const { return static_cast<std::size_t>(std::min(matched, limit)); }

  // Looks at kDesert keys and few more, unless it takes more to find one row.
  void append_natural(std::vector<RangeRow>& out, std::size_t max, std::uint64_t bytes_max) {
    std::size_t passed = 0;
    std::uint64_t bytes = 0;
    while (out.size() < max && bytes < bytes_max && yielded < rows() &&
           (passed < kDesert || out.empty())) {
      if (next_desert < deserts.size() && deserts[next_desert].row == yielded) {
        second_pass->skip_to(deserts[next_desert++].key);
      }
      CHECK(second_pass->valid());
      const auto version = second_pass->get(revision);
      if (version && filters.pass(*version)) {
        yielded++;
        out.push_back({.version = *version});
        bytes += version->bytes;
        if (from_index()) out.back().key = second_pass->key();
      }
      second_pass->next();
      passed++;
    }
  }

  void append_gathered(std::vector<RangeRow>& out, std::size_t max, std::uint64_t bytes_max) {
    std::uint64_t bytes = 0;
    for (; out.size() < max && bytes < bytes_max && yielded < gathered.size(); yielded++) {
      GatheredRow& row = gathered[yielded];
      bytes += row.version.bytes;
      if (by_value() && keys_only) row.encoded = encode(without_value(row.kv));
      out.push_back(
          {.version = row.version, .key = std::move(row.key), .encoded = std::move(row.encoded)});
    }
  }

  // Keys that give no row (deleted, filtered out), more than kDesert in a run, are not walked
  // twice.
  struct Desert {
    std::uint64_t row;  // the first after it, counted from 0
    std::string key;    // of that row
  };
  static constexpr std::size_t kDesert = 1024;
  static constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

  // What is asked for.
  const std::string key, range_end;
  const KeyRange range;  // over these two
  const KeyIndexView index;
  const Overlay* const overlay;
  const std::int64_t revision;
  const std::uint64_t limit;
  const bool count_only, keys_only;
  const Ordering ordering;
  const Filters filters;
  const std::size_t memory_budget;

  Phase phase = Phase::kLooking;
  Errc error{};

  // First pass.
  OverlaidCursor cursor;
  std::int64_t count = 0;                // keys in the range
  std::uint64_t looked = 0;              // at so many keys, deleted ones too
  std::uint64_t looked_at_row = 0;       // ... when the newest row was seen
  std::vector<Desert> deserts;           // natural order
  std::uint64_t matched = 0;             // of these, pass the filters
  std::uint64_t matched_max = kNoLimit;  // later ones are not looked at
  std::uint64_t encoded_bytes = 0;
  std::vector<GatheredRow> wanted;  // wait for their values
  std::vector<Revision> needed;     // theirs
  std::size_t wanted_bytes = 0;
  std::vector<GatheredRow> gathered;  // other orders than natural
  std::size_t gathered_bytes = 0;
  std::size_t ordered = 0;  // rows at its end that are in their place

  // Second pass.
  std::optional<OverlaidCursor> second_pass;  // natural order
  std::size_t next_desert = 0;
  std::size_t yielded = 0;
};

RangePlan::RangePlan(const View& view, const RangeRequest& request, std::size_t memory_budget)
    : RangePlan(view, request, memory_budget, nullptr) {}
RangePlan::RangePlan(const View& view, const RangeRequest& request, std::size_t memory_budget,
                     const Overlay* overlay)
    : impl_(std::make_unique<Impl>(view, request, memory_budget, overlay)) {}
RangePlan::~RangePlan() = default;
RangePlan::RangePlan(RangePlan&&) noexcept = default;
RangePlan& RangePlan::operator=(RangePlan&&) noexcept = default;

RangePlan::Status RangePlan::step(std::size_t budget) {
  CHECK(budget > 0);
  if (impl_->phase == Impl::Phase::kLooking) {
    budget = impl_->look(budget);
  }
  if (impl_->phase == Impl::Phase::kOrdering) impl_->order(budget);
  switch (impl_->phase) {
    case Impl::Phase::kLooking:
    case Impl::Phase::kOrdering:
      return Status::kMore;
    case Impl::Phase::kWaiting:
      return Status::kNeed;
    case Impl::Phase::kDone:
      return Status::kDone;
    case Impl::Phase::kFailed:
      return Status::kFailed;
  }
  CHECK(false);
}

std::span<const Revision> RangePlan::needed() const { return impl_->needed; }
void RangePlan::feed(std::span<base::ReadResult> read) { impl_->feed(read); }

Errc RangePlan::error() const {
  CHECK(impl_->phase == Impl::Phase::kFailed);
  return impl_->error;
}
std::int64_t RangePlan::count() const {
  CHECK(impl_->phase == Impl::Phase::kDone);
  return impl_->count;
}
bool RangePlan::more() const {
  CHECK(impl_->phase == Impl::Phase::kDone);
  return impl_->matched > impl_->limit;
}
std::size_t RangePlan::rows() const {
  CHECK(impl_->phase == Impl::Phase::kDone);
  return impl_->rows();
}
std::uint64_t RangePlan::encoded_bytes() const {
  CHECK(impl_->phase == Impl::Phase::kDone);
  return impl_->encoded_bytes;
}
std::size_t RangePlan::memory_bytes() const { return impl_->gathered_bytes + impl_->wanted_bytes; }
bool RangePlan::rows_are_complete() const { return impl_->keys_only || impl_->by_value(); }

std::vector<RangeRow> RangePlan::next_rows(std::size_t limit, std::uint64_t bytes_max) {
  CHECK(impl_->phase == Impl::Phase::kDone);
  std::vector<RangeRow> out;
  if (impl_->ordering.natural) {
    impl_->append_natural(out, limit, bytes_max);
  } else {
    impl_->append_gathered(out, limit, bytes_max);
  }
  return out;
}

std::string encode_keys_only(std::string_view key, const Version& version) {
  return std::string(encode(keys_only_view(key, version)).view());
}

namespace {

base::Result<void, Errc> run(RangePlan& plan, const ReadFunction& read) {
  for (;;) {
    switch (plan.step(kStepBudget)) {
      case RangePlan::Status::kMore:
        break;
      case RangePlan::Status::kNeed: {
        std::vector<base::ReadResult> results(plan.needed().size());
        read(plan.needed(), results);
        plan.feed(results);
        break;
      }
      case RangePlan::Status::kDone:
        return {};
      case RangePlan::Status::kFailed:
        return base::fail(plan.error());
    }
  }
}

base::Result<void, Errc> append_rows(RangePlan& plan, std::vector<RangeRow> rows,
                                     const ReadFunction& read,
                                     std::vector<base::SharedBytes>& out) {
  if (!plan.rows_are_complete()) {
    std::vector<Revision> revisions;
    for (const RangeRow& row : rows) revisions.push_back(row.version.mod);
    ASSIGN_OR_RETURN(auto records, read_all(read, revisions));
    std::move(records.begin(), records.end(), std::back_inserter(out));
    return {};
  }
  for (RangeRow& row : rows) {
    out.push_back(row.key.empty() ? std::move(row.encoded)
                                  : encode(keys_only_view(row.key, row.version)));
  }
  return {};
}

}  // namespace

base::Result<RangeResult, Errc> range_over(const View& view, const Overlay* overlay,
                                           const RangeRequest& request, const ReadFunction& read,
                                           std::size_t memory_budget) {
  RangePlan plan(view, request, memory_budget, overlay);
  RETURN_IF_ERROR(run(plan, read));
  if (plan.encoded_bytes() > memory_budget) return base::fail(Errc::kTooMuchMemory);
  RangeResult result{.revision = view.revision, .count = plan.count(), .more = plan.more()};
  result.kvs.reserve(plan.rows());
  for (auto rows = plan.next_rows(kReadRun); !rows.empty(); rows = plan.next_rows(kReadRun)) {
    RETURN_IF_ERROR(append_rows(plan, std::move(rows), read, result.kvs));
  }
  return result;
}

base::Result<RangeResult, Errc> range(const View& view, const RangeRequest& request,
                                      const base::RevisionReader& reader,
                                      std::size_t memory_budget) {
  return range_over(view, nullptr, request, read_from(reader), memory_budget);
}

}  // namespace keelson::mvcc
