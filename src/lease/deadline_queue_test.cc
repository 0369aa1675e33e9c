#include "lease/deadline_queue.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "testing/script.h"

namespace keelson::lease {
namespace {

using base::Seconds;

base::TimePoint at(base::Duration since_start) { return base::TimePoint(since_start); }

Lease lease(LeaseId id, std::int64_t ttl, std::int64_t remaining = 0) {
  return {.id = id, .ttl = Seconds(ttl), .remaining_ttl = Seconds(remaining)};
}

class Story {
 public:
  std::string run(const testing::Directive& d) {
    const auto id = [&] { return static_cast<LeaseId>(std::stoll(d.bare(0))); };
    const auto remaining = [&] { return Seconds(d.number("remaining")); };
    if (d.command == "grant") return queue_.granted(lease(id(), d.number("ttl")), now_), "ok";
    if (d.command == "revoke") return queue_.revoked(id()), "ok";
    if (d.command == "checkpoint") return queue_.checkpointed(id(), remaining(), now_), "ok";
    if (d.command == "demote") return queue_.demote(), "ok";
    if (d.command == "promote") return promote(d.input);
    if (d.command == "renew") {
      const auto renewed = queue_.renew(id(), now_);
      if (!renewed) return error(renewed.error());
      return fmt::format("ttl={}{}", renewed->ttl.count(),
                         renewed->reset_checkpoint ? " reset_checkpoint" : "");
    }
    if (d.command == "remaining") {
      const auto left = queue_.remaining(id(), now_);
      return left ? fmt::format("{:g}s", std::chrono::duration<double>(*left).count())
                  : error(left.error());
    }
    if (d.command == "at") {
      now_ = at(base::Duration(std::llround(std::stod(d.bare(0)) * 1e9)));
      const auto expired = queue_.take_expired(now_, 10);
      return expired.empty() ? "expired: none"
                             : fmt::format("expired: {}", fmt::join(expired, " "));
    }
    if (d.command == "checkpoints") {
      std::string out;
      for (const auto& due : queue_.take_checkpoints(now_, 10)) {
        out += fmt::format("{}{} remaining={}", out.empty() ? "" : "\n", due.id,
                           due.remaining_ttl.count());
      }
      return out.empty() ? "none" : out;
    }
    ADD_FAILURE() << d.position << ": unknown command " << d.command;
    return "";
  }

 private:
  static std::string error(Errc errc) { return fmt::format("error: {}", describe(errc)); }
  // One lease a line: id ttl remaining.
  std::string promote(const std::string& input) {
    std::vector<Lease> leases;
    std::istringstream lines(input);
    for (std::int64_t id = 0, ttl = 0, remaining = 0; lines >> id >> ttl >> remaining;) {
      leases.push_back(lease(id, ttl, remaining));
    }
    queue_.promote(leases, now_, Seconds(1));
    return fmt::format("order: {}", fmt::join(queue_.by_deadline(), " "));
  }

  DeadlineQueue queue_{{.checkpoint_interval = Seconds(300)}};
  base::TimePoint now_{};
};

TEST(DeadlineQueue, Script) {
  Story story;
  testing::run_script(KEELSON_TEST_DIR "/testdata/deadline_queue.txt",
                      [&](const testing::Directive& directive) { return story.run(directive); });
}

TEST(DeadlineQueue, PromoteSpreadsManyEnds) {
  struct Row {
    const char* why;
    std::size_t leases;
    std::size_t in_first_second;
    std::int64_t last_second;
  };
  for (const Row& row : {
           Row{"few enough to come at once", 999, 999, 11},
           Row{"from a thousand on, 750 a second", 1000, 750, 12},
           Row{"the rest in the seconds after", 3001, 750, 15},
       }) {
    std::vector<Lease> leases;
    for (std::size_t i = 0; i < row.leases; i++)
      leases.push_back(lease(static_cast<LeaseId>(i + 1), 10));
    DeadlineQueue queue({});
    queue.promote(leases, at(Seconds(0)), Seconds(1));
    EXPECT_TRUE(queue.take_expired(at(Seconds(11)) - base::Duration(1), 10'000).empty()) << row.why;
    EXPECT_EQ(queue.take_expired(at(Seconds(11)), 10'000).size(), row.in_first_second) << row.why;
    EXPECT_GE(
        queue.remaining(static_cast<LeaseId>(row.leases), at(Seconds(row.last_second)))->count(), 0)
        << row.why;
    std::size_t rest = row.in_first_second;
    for (std::int64_t s = 12; s <= row.last_second; s++) {
      for (const LeaseId id : queue.take_expired(at(Seconds(s)), 10'000))
        rest += id > 0 ? queue.remaining(id, at(Seconds(s)))->count() == 0 : 0;
    }
    EXPECT_EQ(rest, row.leases) << row.why;
  }
}

// What is spread in time already stays where it is.
TEST(DeadlineQueue, PromoteMovesNoLeaseNeedlessly) {
  std::vector<Lease> leases;
  for (LeaseId id = 1; id <= 5000; id++) leases.push_back(lease(id, 10 + id / 700));
  DeadlineQueue queue({});
  queue.promote(leases, at(Seconds(0)), Seconds(0));
  for (const Lease& l : leases) EXPECT_EQ(*queue.remaining(l.id, at(Seconds(0))), l.ttl);
}

TEST(DeadlineQueue, LimitsWhatItTakes) {
  DeadlineQueue queue({});
  queue.promote({}, at(Seconds(0)), Seconds(0));
  for (LeaseId id = 1; id <= 10; id++) queue.granted(lease(id, 2 + id), at(Seconds(0)));
  EXPECT_EQ(queue.take_expired(at(Seconds(100)), 4), (std::vector<LeaseId>{1, 2, 3, 4}));
  EXPECT_EQ(queue.take_expired(at(Seconds(100)), 4), (std::vector<LeaseId>{5, 6, 7, 8}));
  EXPECT_EQ(queue.take_expired(at(Seconds(100)), 4), (std::vector<LeaseId>{9, 10}));
  EXPECT_TRUE(queue.take_expired(at(Seconds(102)), 4).empty());
  EXPECT_EQ(queue.take_expired(at(Seconds(103)), 2), (std::vector<LeaseId>{1, 2}));
}

TEST(DeadlineQueue, WhoseRevokeIsOnItsWayIsNotReportedAgain) {
  DeadlineQueue queue({});
  queue.promote({}, at(Seconds(0)), Seconds(0));
  for (LeaseId id = 1; id <= 3; id++) queue.granted(lease(id, 5), at(Seconds(0)));
  ASSERT_EQ(queue.take_expired(at(Seconds(5)), 10), (std::vector<LeaseId>{1, 2, 3}));
  queue.revokes_are_logged(std::vector<LeaseId>{1, 3});
  EXPECT_EQ(queue.take_expired(at(Seconds(100)), 10), std::vector<LeaseId>{2});
  EXPECT_EQ(queue.size(), 3u) << "it is there until the revoke is";
  EXPECT_EQ(queue.renew(1, at(Seconds(100))).error(), Errc::kExpired);
  queue.revoked(1);
  queue.granted(lease(1, 5), at(Seconds(100)));
  EXPECT_EQ(queue.take_expired(at(Seconds(105)), 10), (std::vector<LeaseId>{2, 1}));
}

// Against the obvious: look at every lease each time.
TEST(DeadlineQueue, Twin) {
  struct Slow {
    base::TimePoint deadline, told;
    Seconds ttl{0};
  };
  for (std::uint64_t seed = 1; seed <= 6; seed++) {
    base::Random random(seed);
    DeadlineQueue queue({.retry_interval = Seconds(3)});
    std::map<LeaseId, Slow> slow;
    base::TimePoint now{};
    std::vector<Lease> first;
    for (LeaseId id = 1; id <= 50; id++) {
      first.push_back(lease(id, 5 + static_cast<std::int64_t>(random.below(60)),
                            static_cast<std::int64_t>(random.below(2)) * 3));
      const auto left =
          first.back().remaining_ttl.count() > 0 ? first.back().remaining_ttl : first.back().ttl;
      slow[id] = {.deadline = now + Seconds(1) + left,
                  .told = base::TimePoint::min(),
                  .ttl = first.back().ttl};
    }
    queue.promote(first, now, Seconds(1));
    for (int i = 0; i < 8000; i++) {
      now += base::Milliseconds(random.below(300));
      const LeaseId id = 1 + static_cast<LeaseId>(random.below(120));
      switch (random.below(6)) {
        case 0:
          if (slow.contains(id)) break;
          slow[id] = {
              .deadline = now + Seconds(id), .told = base::TimePoint::min(), .ttl = Seconds(id)};
          queue.granted(lease(id, id), now);
          break;
        case 1:
          if (random.one_in(3)) {
            slow.erase(id);
            queue.revoked(id);
          }
          break;
        case 2:
        case 3: {
          const auto renewed = queue.renew(id, now);
          if (!slow.contains(id)) {
            ASSERT_EQ(renewed.error(), Errc::kNotFound);
          } else if (slow[id].deadline <= now) {
            ASSERT_EQ(renewed.error(), Errc::kExpired);
          } else {
            ASSERT_EQ(renewed->ttl, slow[id].ttl);
            slow[id].deadline = now + slow[id].ttl;
          }
          break;
        }
        default: {
          auto expired = queue.take_expired(now, 1000);
          std::vector<LeaseId> expected;
          for (auto& [other, state] : slow) {
            const bool told = state.told != base::TimePoint::min() && now - state.told < Seconds(3);
            if (state.deadline > now || told) continue;
            state.told = now;
            expected.push_back(other);
          }
          std::sort(expired.begin(), expired.end());
          ASSERT_EQ(expired, expected);
        }
      }
      ASSERT_EQ(queue.size(), slow.size());
      if (slow.contains(id)) ASSERT_EQ(*queue.remaining(id, now), slow[id].deadline - now);
    }
    std::vector<std::pair<base::TimePoint, LeaseId>> order;
    for (const auto& [id, state] : slow) order.emplace_back(state.deadline, id);
    std::sort(order.begin(), order.end());
    std::vector<LeaseId> ids;
    for (const auto& [deadline, id] : order) ids.push_back(id);
    EXPECT_EQ(queue.by_deadline(), ids);
  }
}

}  // namespace
}  // namespace keelson::lease
