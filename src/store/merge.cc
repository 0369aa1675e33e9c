#include "store/merge.h"

#include <utility>

namespace keelson::store {

KeyMerge::KeyMerge(std::vector<std::unique_ptr<KeySource>> sources, bool unmerged)
    : sources_(std::move(sources)),
      unmerged_(unmerged),
      over_(sources_.size()),
      losers_(sources_.size()) {}

// A source that is over comes after all others; of equal keys the older segment's is first.
bool KeyMerge::is_before(std::size_t a, std::size_t b) const {
  if (over_[a] || over_[b]) return !over_[a] && over_[b] ? true : over_[a] == over_[b] && a < b;
  if (unmerged_) return a < b;
  const int order = sources_[a]->row().key.compare(sources_[b]->row().key);
  return order != 0 ? order < 0 : a < b;
}

base::Result<> KeyMerge::start() {
  const std::size_t n = sources_.size();
  for (std::size_t i = 0; i < n; i++) {
    ASSIGN_OR_RETURN(const bool more, sources_[i]->next());
    over_[i] = !more;
  }
  // Leaves are nodes n .. 2n-1, the parent of node i is i/2.
  std::vector<std::size_t> winners(2 * n);
  for (std::size_t i = 0; i < n; i++) winners[n + i] = i;
  for (std::size_t i = n - 1; i >= 1; i--) {
    const std::size_t a = winners[2 * i], b = winners[2 * i + 1];
    const bool a_wins = is_before(a, b);
    winners[i] = a_wins ? a : b;
    losers_[i] = a_wins ? b : a;
  }
  winner_ = n > 1 ? winners[1] : 0;
  started_ = true;
  return {};
}

void KeyMerge::replay(std::size_t leaf) {
  std::size_t winner = leaf;
  for (std::size_t i = (sources_.size() + leaf) / 2; i >= 1; i /= 2) {
    if (is_before(losers_[i], winner)) std::swap(losers_[i], winner);
  }
  winner_ = winner;
}

base::Result<bool> KeyMerge::next() {
  if (sources_.empty()) return false;
  if (!started_) {
    RETURN_IF_ERROR(start());
    return !over_[winner_];
  }
  if (over_[winner_]) return false;
  ASSIGN_OR_RETURN(const bool more, sources_[winner_]->next());
  over_[winner_] = !more;
  replay(winner_);
  return !over_[winner_];
}

}  // namespace keelson::store
