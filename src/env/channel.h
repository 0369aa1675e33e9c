// Channel<T>: the bounded hand-over of values to one lane, in order, from any number of lanes.
//
// Values gather while the consumer is busy or asleep; it gets them as one vector in one job, so it
// is woken once per batch. A push beyond the bound is refused and the caller says what full means
// (drop, refuse the request, fall back). Values left when the channel is destroyed are destroyed
// with it.
//
// Where time within a job runs ahead (Lane::runs_ahead), a value is handed over at the time it was
// pushed at, and not to a job that runs before that.
//
// Lifetime: destroy it on the consumer lane, after the last push.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/function.h"
#include "env/lane.h"

namespace keelson::env {

template <class T>
class Channel {
 public:
  // `on_batch` runs as a job of `consumer`.
  Channel(Lane& consumer, std::size_t capacity, base::Function<void(std::vector<T>)> on_batch)
      : state_(std::make_shared<State>(consumer, capacity, std::move(on_batch))) {}
  ~Channel() {
    std::vector<T> rest;
    const std::scoped_lock lock(state_->mutex);
    state_->closed = true;
    rest.swap(state_->values);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // False, and the value untouched, if `capacity` values wait already.
  [[nodiscard]] bool push(T&& value) { return push_if(std::move(value), state_->capacity); }
  // For messages that must not be lost and whose number is bounded by other means (answers to what
  // was asked for): never refused.
  void push_always(T value) { CHECK(push_if(std::move(value), static_cast<std::size_t>(-1))); }

  std::size_t size() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->values.size();
  }

 private:
  struct State {
    State(Lane& lane, std::size_t bound, base::Function<void(std::vector<T>)> callback)
        : consumer(lane),
          capacity(bound),
          dated(lane.runs_ahead()),
          on_batch(std::move(callback)) {}
    Lane& consumer;
    const std::size_t capacity;
    const bool dated;
    base::Function<void(std::vector<T>)> on_batch;
    std::mutex mutex;  // guards what follows; held for a push or a swap only
    std::vector<T> values;
    bool scheduled = false;  // a drain job is queued on the consumer
    bool closed = false;
    // If dated: when each value was pushed, ascending; and when the drain job posted last arrives.
    std::vector<base::TimePoint> dates;
    std::optional<base::TimePoint> next_drain;

    bool push(T&& value) {
      values.push_back(std::move(value));
      return !std::exchange(scheduled, true);
    }
    std::vector<T> take() {
      scheduled = false;
      return std::exchange(values, {});
    }

    // A job that ran earlier may have pushed later values.
    bool push_dated(T&& value) {
      const base::TimePoint now = consumer.clock().now();
      const auto place = std::upper_bound(dates.begin(), dates.end(), now) - dates.begin();
      dates.insert(dates.begin() + place, now);
      values.insert(values.begin() + place, std::move(value));
      return std::exchange(next_drain, now) != now;
    }
    std::vector<T> take_dated() {
      const base::TimePoint now = consumer.clock().now();
      const auto due = std::upper_bound(dates.begin(), dates.end(), now) - dates.begin();
      std::vector<T> taken(std::make_move_iterator(values.begin()),
                           std::make_move_iterator(values.begin() + due));
      dates.erase(dates.begin(), dates.begin() + due);
      values.erase(values.begin(), values.begin() + due);
      if (next_drain && *next_drain <= now) next_drain.reset();
      return taken;
    }
  };

  bool push_if(T&& value, std::size_t bound) {
    {
      const std::scoped_lock lock(state_->mutex);
      if (state_->closed || state_->values.size() >= bound) return false;
      const bool wake =
          state_->dated ? state_->push_dated(std::move(value)) : state_->push(std::move(value));
      if (!wake) return true;
    }
    state_->consumer.post([state = state_] {
      std::vector<T> batch;
      {
        const std::scoped_lock lock(state->mutex);
        if (state->closed) return;
        batch = state->dated ? state->take_dated() : state->take();
      }
      if (!batch.empty()) state->on_batch(std::move(batch));
    });
    return true;
  }

  std::shared_ptr<State> state_;
};

}  // namespace keelson::env
