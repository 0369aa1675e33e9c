#include "member/held_views.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson::member {
namespace {

// How often it is looked at while something is held, and so how long the last one that was told has
// for what it held to go before the next one is.
constexpr base::Duration kLookInterval = base::Seconds(1);

}  // namespace

bool OldestViews::is_oldest(std::uint64_t batch) const {
  return std::all_of(oldest_.begin(), oldest_.end(), [batch](const auto& one) {
    return one.load(std::memory_order_relaxed) >= batch;
  });
}

HeldViews::HeldViews(env::Lane& lane, std::uint32_t number, Limits limits, OldestViews& oldest,
                     base::Function<const View&()> newest, base::Function<void()> ended)
    : lane_(lane),
      number_(number),
      limits_(limits),
      oldest_(oldest),
      newest_(std::move(newest)),
      ended_(std::move(ended)) {}

HeldViews::~HeldViews() { CHECK(held_.empty() && told_.empty()); }

std::unique_ptr<HeldViews::Hold> HeldViews::hold(const View& view, base::Job on_ended) {
  const std::uint64_t batch = view.keys.index.batch();
  auto place = held_.end();
  while (place != held_.begin() && std::prev(place)->batch > batch) --place;
  const auto entry = held_.insert(
      place, {.batch = batch, .since = lane_.clock().now(), .on_ended = std::move(on_ended)});
  oldest_.count(1);
  tell_oldest();
  arm();
  return std::make_unique<Hold>(*this, entry);
}

void HeldViews::release(Entries::iterator entry) {
  (entry->told ? told_ : held_).erase(entry);
  oldest_.count(-1);
  tell_oldest();
}

void HeldViews::stop() {
  stopped_ = true;
  lane_.cancel(timer_);
}

void HeldViews::tell_oldest() {
  oldest_.set(number_, held_.empty() ? OldestViews::kNone : held_.front().batch);
}

void HeldViews::arm() {
  if (timer_ != 0 || stopped_ || held_.empty()) return;
  timer_ = lane_.after(kLookInterval, [this] {
    timer_ = 0;
    look();
    arm();
  });
}

void HeldViews::look() {
  if (!held_.empty() && over_budget(held_.front())) end_oldest();
}

bool HeldViews::over_budget(const Entry& oldest) {
  if (lane_.clock().now() - oldest.since > limits_.age_max) return true;
  return newest_().retired_bytes > limits_.bytes_max && oldest_.is_oldest(oldest.batch);
}

void HeldViews::end_oldest() {
  held_.front().told = true;
  told_.splice(told_.end(), held_, held_.begin());
  tell_oldest();
  ended_();
  base::Job on_ended = std::move(told_.back().on_ended);  // it may destroy the entry
  on_ended();
}

}  // namespace keelson::member
