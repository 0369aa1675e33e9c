#include "api/shared_runs.h"

#include <algorithm>

#include "base/check.h"

namespace keelson::api {

base::SharedBytes SharedRuns::find(std::span<const base::Revision> revisions) const {
  if (revisions.empty()) return {};
  const auto it = by_first_.find(first_of(revisions));
  if (it == by_first_.end() || !std::ranges::equal(it->second->revisions, revisions)) return {};
  return it->second->encoded;
}

void SharedRuns::keep(std::vector<base::Revision> revisions, base::SharedBytes bytes) {
  CHECK(wanted());
  CHECK(!revisions.empty());
  auto run = std::make_shared<const Run>(std::move(revisions), std::move(bytes));
  if (run->cost() > bytes_max_) return;
  bytes_ += run->cost();
  while (bytes_ > bytes_max_) drop_oldest();
  by_first_.insert_or_assign(first_of(run->revisions), run);
  runs_.push_back(std::move(run));
}

void SharedRuns::drop_oldest() {
  const std::shared_ptr<const Run> run = std::move(runs_.front());
  runs_.pop_front();
  bytes_ -= run->cost();
  const auto it = by_first_.find(first_of(run->revisions));
  if (it != by_first_.end() && it->second == run) by_first_.erase(it);
}

void SharedRuns::leave() {
  if (--parties_ > 1) return;
  runs_.clear();
  by_first_.clear();
  bytes_ = 0;
}

}  // namespace keelson::api
