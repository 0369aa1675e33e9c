// Overlay: changes of the running txn that are not in the index yet, and a cursor over both.
//
// A txn is staged here first and enters the index only when all of it has succeeded; so an
// operation that fails has nothing to undo (the index cannot undo), and yet each operation sees
// those before it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/containers.h"
#include "mvcc/key_index.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

// The newest staged change of each key. Keys are borrowed from the staged records.
using Overlay = base::OrderedMap<std::string_view, Version>;

inline std::optional<Version> live(const Version& version) {
  if (version.tombstone) return std::nullopt;
  return version;
}

// What `key` is at `revision`, the overlay's changes (nullptr: none) hiding the index's.
inline std::optional<Version> get(const KeyIndexView& index, const Overlay* overlay,
                                  std::string_view key, std::int64_t revision) {
  if (overlay != nullptr) {
    if (const auto it = overlay->find(key); it != overlay->end()) return live(it->second);
  }
  return index.get(key, revision);
}

// Walks the keys of a range in ascending order, deleted ones included. A range of a single key is
// looked up and not sought: it is one step, be the key there or not. Index and overlay stay
// unchanged meanwhile; the range's bounds are borrowed.
class OverlaidCursor {
 public:
  OverlaidCursor(const KeyIndexView& index, const Overlay* overlay, const KeyRange& range)
      : range_(range),
        view_(index),
        overlay_(overlay != nullptr && !overlay->empty() ? overlay : nullptr) {
    if (range.single) {
      place_ = Place::kSingle;
    } else if (!range.empty()) {
      index_ = index.seek(range.key);
      if (overlay_ != nullptr) staged_ = overlay_->lower_bound(range.key);
      settle();
    }
  }

  bool valid() const { return place_ != Place::kEnd; }
  // The view ends with next() and skip_to().
  std::string_view key() const {
    if (place_ == Place::kSingle) return range_.key;
    return place_ == Place::kIndex ? index_.key() : staged_->first;
  }
  std::optional<Version> get(std::int64_t revision) const {
    if (place_ == Place::kSingle) return mvcc::get(view_, overlay_, range_.key, revision);
    return place_ == Place::kIndex ? index_.get(revision) : live(staged_->second);
  }
  void next() {
    if (place_ == Place::kIndex || place_ == Place::kBoth) index_.next();
    if (place_ == Place::kStaged || place_ == Place::kBoth) ++staged_;
    settle();
  }
  // To the first key >= `key`, which lies in the range.
  void skip_to(std::string_view key) {
    if (range_.single) return;
    index_.seek(key);
    if (overlay_ != nullptr) staged_ = overlay_->lower_bound(key);
    settle();
  }

 private:
  enum class Place : std::uint8_t { kEnd, kSingle, kIndex, kStaged, kBoth };

  void settle() {
    if (range_.single) {
      place_ = Place::kEnd;
      return;
    }
    const bool has_index = index_.valid() && range_.contains(index_.key());
    const bool has_staged =
        overlay_ != nullptr && staged_ != overlay_->end() && range_.contains(staged_->first);
    if (has_index && has_staged) {
      const int order = index_.key().compare(staged_->first);
      place_ = order == 0 ? Place::kBoth : order < 0 ? Place::kIndex : Place::kStaged;
    } else {
      place_ = has_index ? Place::kIndex : has_staged ? Place::kStaged : Place::kEnd;
    }
  }

  KeyRange range_;
  KeyIndexView view_;
  const Overlay* overlay_;
  KeyIndexView::Cursor index_;
  Overlay::const_iterator staged_;
  Place place_ = Place::kEnd;  // where the smallest key not passed yet is
};

}  // namespace keelson::mvcc
