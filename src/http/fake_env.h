// A lane, a clock and a pair of connected streams in memory, for the tests of this directory.
//
// Time moves only by advance(). A stream holds what the other end has not read: beyond `capacity`
// bytes a write waits, as with a kernel's buffer, so that slow readers can be played.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "env/lane.h"
#include "env/stream.h"

namespace keelson::http::fake {

class FakeClock final : public env::Clock {
 public:
  base::TimePoint now() const override { return now_; }
  base::WallTime wall_now() const override { return base::WallTime(base::Seconds(1'700'000'000)); }
  void set(base::TimePoint now) { now_ = now; }

 private:
  base::TimePoint now_{base::Seconds(1000)};
};

class FakeLane final : public env::Lane {
 public:
  void post(base::Job job) override { jobs_.push_back(std::move(job)); }
  void at_turn_end(base::Job job) override { turn_end_.push_back(std::move(job)); }
  env::TimerId at(base::TimePoint due, base::Job job) override {
    timers_.emplace(std::pair(due, ++last_timer_), std::move(job));
    return last_timer_;
  }
  void cancel(env::TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer; });
  }
  bool is_current() const override { return true; }
  std::string_view name() const override { return "fake"; }
  env::Clock& clock() override { return clock_; }

  // Runs what is queued, turn by turn, until nothing is.
  void run() {
    while (!jobs_.empty() || !turn_end_.empty()) {
      for (auto& job : std::exchange(jobs_, {})) job();
      for (auto& job : std::exchange(turn_end_, {})) job();
    }
  }
  void advance(base::Duration duration) {
    const base::TimePoint until = clock_.now() + duration;
    run();
    while (!timers_.empty() && timers_.begin()->first.first <= until) {
      auto first = timers_.extract(timers_.begin());
      clock_.set(std::max(clock_.now(), first.key().first));
      first.mapped()();
      run();
    }
    clock_.set(until);
  }
  std::size_t timers() const { return timers_.size(); }

 private:
  FakeClock clock_;
  std::deque<base::Job> jobs_;
  std::vector<base::Job> turn_end_;
  std::map<std::pair<base::TimePoint, env::TimerId>, base::Job> timers_;
  env::TimerId last_timer_ = 0;
};

// One end of a connection. The other end is the test: it feeds bytes and takes what was written.
class FakeStream final : public env::Stream {
 public:
  // What is left of a stream when its owner has destroyed it; shared with the test.
  struct Wire {
    std::string sent;                             // by the owner, not yet taken by the test
    std::size_t capacity = std::size_t{1} << 30;  // of `sent`
    std::string waiting;                          // written, beyond the capacity
    bool closed = false;                          // by the owner
    bool paused = false;
    std::size_t writes = 0;
    FakeStream* stream = nullptr;  // while it lives

    // Reads what was sent, letting through what waited for room.
    std::string take(std::size_t bytes = std::string::npos) {
      std::string result = sent.substr(0, bytes);
      sent.erase(0, bytes);
      const bool had_waiting = !waiting.empty();
      flow();
      if (had_waiting && waiting.empty() && stream != nullptr) stream->say_drained();
      return result;
    }
    void flow() {
      const std::size_t room = capacity - std::min(capacity, sent.size());
      sent += waiting.substr(0, room);
      waiting.erase(0, room);
    }
    void feed(std::string_view bytes) {
      if (stream != nullptr && !closed) stream->handler_->on_bytes(bytes);
    }
    void end() {
      if (stream != nullptr && !closed) stream->handler_->on_end();
    }
    void break_off() {
      if (stream != nullptr && !closed) {
        stream->handler_->on_closed(base::make_error(std::errc::connection_reset, "read"));
      }
    }
  };

  explicit FakeStream(env::Lane& lane) : lane_(lane), wire_(std::make_shared<Wire>()) {
    wire_->stream = this;
  }
  ~FakeStream() override {
    wire_->stream = nullptr;
    wire_->closed = true;
  }
  std::shared_ptr<Wire> wire() { return wire_; }

  void start(env::StreamHandler& handler) override { handler_ = &handler; }
  void write(std::string&& bytes) override {
    CHECK(!wire_->closed);
    ++wire_->writes;
    wire_->waiting += bytes;
    wire_->flow();
  }
  void write(std::vector<base::SharedBytes> pieces) override {
    CHECK(!wire_->closed);
    ++wire_->writes;
    for (const auto& piece : pieces) wire_->waiting += piece.view();
    wire_->flow();
  }
  std::size_t unsent() const override { return wire_->waiting.size(); }
  void pause_reading() override { wire_->paused = true; }
  void resume_reading() override { wire_->paused = false; }
  void close_gracefully(base::Duration) override { wire_->closed = true; }
  const std::string& peer_address() const override { return peer_; }
  const std::string& local_address() const override { return local_; }
  env::Lane& lane() override { return lane_; }

 private:
  void say_drained() {
    lane_.post([wire = wire_] {
      if (wire->stream != nullptr) wire->stream->handler_->on_drained();
    });
  }

  env::Lane& lane_;
  env::StreamHandler* handler_ = nullptr;
  std::shared_ptr<Wire> wire_;
  std::string peer_ = "127.0.0.1:51234", local_ = "127.0.0.1:2379";
};

}  // namespace keelson::http::fake
