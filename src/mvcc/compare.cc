// Compares of a txn, api.md 2.7.
#include <optional>
#include <vector>

#include "mvcc/range_internal.h"
#include "mvcc/record.h"

namespace keelson::mvcc {

using etcdserverpb::Compare;

namespace {

int order(std::int64_t a, std::int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

// How the key stands to the operand: negative, zero, positive. An operand of another member of the
// oneof than the target names counts as 0 or empty, an unknown target as equal.
int order_of(const Compare& compare, const KeyValueView& kv) {
  switch (compare.target()) {
    case Compare::VERSION:
      return order(kv.version, compare.version());
    case Compare::CREATE:
      return order(kv.create_revision, compare.create_revision());
    case Compare::MOD:
      return order(kv.mod_revision, compare.mod_revision());
    case Compare::VALUE:
      return kv.value.compare(compare.value());
    case Compare::LEASE:
      return order(kv.lease, compare.lease());
    default:
      return 0;
  }
}

// An unknown result is always satisfied.
bool satisfied(const Compare& compare, const KeyValueView& kv) {
  const int order = order_of(compare, kv);
  switch (compare.result()) {
    case Compare::EQUAL:
      return order == 0;
    case Compare::NOT_EQUAL:
      return order != 0;
    case Compare::GREATER:
      return order > 0;
    case Compare::LESS:
      return order < 0;
    default:
      return true;
  }
}

// One compare over all keys of its range, reading only what the index does not know.
class Evaluation {
 public:
  Evaluation(const View& view, const Compare& compare, const ReadFunction& read)
      : view_(view),
        compare_(compare),
        read_(read),
        reads_records_(compare.target() == Compare::VALUE || compare.target() == Compare::LEASE) {}

  base::Result<bool, Errc> run() {
    bool any = false;
    const auto range = KeyRange::of(compare_.key(), compare_.range_end());
    for (OverlaidCursor cursor(view_.index, nullptr, range); cursor.valid(); cursor.next()) {
      const auto version = cursor.get(view_.revision);
      if (!version) continue;
      any = true;
      ASSIGN_OR_RETURN(const bool holds, see(*version));
      if (!holds) return false;
    }
    if (!any) return compare_.target() != Compare::VALUE && satisfied(compare_, {});
    return compare_wanted();
  }

 private:
  base::Result<bool, Errc> see(const Version& version) {
    if (!reads_records_) {
      return satisfied(compare_, {.create_revision = version.create_revision,
                                  .mod_revision = version.mod.main,
                                  .version = version.version});
    }
    wanted_.push_back(version.mod);
    wanted_bytes_ += version.bytes;
    if (wanted_.size() < kReadRun && wanted_bytes_ < kReadRunBytes) return true;
    return compare_wanted();
  }

  // In the order of keys: a difference found before a record that cannot be read decides.
  base::Result<bool, Errc> compare_wanted() {
    std::vector<base::ReadResult> results(wanted_.size());
    if (!wanted_.empty()) read_(wanted_, results);
    wanted_.clear();
    wanted_bytes_ = 0;
    for (const auto& result : results) {
      if (result.state != base::ReadResult::State::kBytes) return base::fail(Errc::kUnreadable);
      const auto kv = decode(result.bytes);
      if (!kv) return base::fail(Errc::kUnreadable);
      if (!satisfied(compare_, *kv)) return false;
    }
    return true;
  }

  const View& view_;
  const Compare& compare_;
  const ReadFunction& read_;
  const bool reads_records_;
  std::vector<Revision> wanted_;
  std::size_t wanted_bytes_ = 0;
};

}  // namespace

base::Result<bool, Errc> evaluate_compares(
    const View& view, const google::protobuf::RepeatedPtrField<Compare>& compares,
    const ReadFunction& read, std::uint64_t& evaluated) {
  for (const Compare& compare : compares) {
    evaluated++;
    ASSIGN_OR_RETURN(const bool holds, Evaluation(view, compare, read).run());
    if (!holds) return false;
  }
  return true;
}

base::Result<bool, Errc> compares_hold(const View& view,
                                       const google::protobuf::RepeatedPtrField<Compare>& compares,
                                       const base::RevisionReader& reader) {
  std::uint64_t evaluated = 0;
  return evaluate_compares(view, compares, read_from(reader), evaluated);
}

}  // namespace keelson::mvcc
