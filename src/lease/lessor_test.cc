#include "lease/lessor.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.h"
#include "testing/script.h"

namespace keelson::lease {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

class Story {
 public:
  std::string run(const testing::Directive& d) {
    const auto id = [&] { return static_cast<LeaseId>(std::stoll(d.bare(0))); };
    base::Batch batch;
    std::string said;
    if (d.command == "grant") {
      const auto lease = lessor_.grant(batch, id(), base::Seconds(d.number("ttl")));
      said = lease ? fmt::format("granted {} ttl={}", lease->id, lease->ttl.count())
                   : error(lease.error());
    } else if (d.command == "revoke") {
      const auto revoked = lessor_.revoke(batch, id());
      said = revoked ? "revoked " + d.bare(0) : error(revoked.error());
    } else if (d.command == "attach") {
      const auto attached = lessor_.attach(d.bare(0), std::stoll(d.bare(1)));
      said = attached ? "ok" : error(attached.error());
    } else if (d.command == "detach") {
      lessor_.detach(d.bare(0));
      said = "ok";
    } else if (d.command == "checkpoint") {
      const auto done =
          lessor_.checkpoint(batch, {.id = id(),
                                     .remaining_ttl = base::Seconds(d.number("remaining")),
                                     .persist = d.has("persist")});
      said = done ? "ok" : error(done.error());
    } else if (d.command == "keys") {
      const auto keys =
          d.has("at") ? snapshots_.at(d.text("at")).keys_of(id()) : lessor_.keys_of(id());
      said = keys.empty() ? "none" : fmt::format("{}", fmt::join(keys.to_vector(), " "));
    } else if (d.command == "lease") {
      said = std::to_string(lessor_.lease_of(d.bare(0)));
    } else if (d.command == "snapshot") {
      snapshots_[d.bare(0)] = lessor_.snapshot();
      said = "ok";
    } else if (d.command == "list") {
      said = list(d.has("at") ? snapshots_.at(d.text("at")) : lessor_.snapshot());
    } else if (d.command == "recover") {
      lessor_ = Lessor({});
      for (const auto& [key, value] : stored_) EXPECT_TRUE(lessor_.recover(value));
      said = fmt::format("{} leases", lessor_.size());
    } else {
      ADD_FAILURE() << d.position << ": unknown command " << d.command;
    }
    return said + persist(batch);
  }

 private:
  static std::string error(Errc errc) { return fmt::format("error: {}", describe(errc)); }
  static std::string list(const LeaseSnapshot& leases) {
    std::string out;
    leases.visit([&](const Lease& lease) {
      out += fmt::format("{}{} ttl={}", out.empty() ? "" : "\n", lease.id, lease.ttl.count());
      if (lease.remaining_ttl.count() != 0)
        out += fmt::format(" remaining={}", lease.remaining_ttl.count());
      return true;
    });
    return out;
  }
  std::string persist(const base::Batch& batch) {
    std::string out;
    for (const auto& change : batch.changes()) {
      EXPECT_EQ(change.bucket, base::Bucket::kLease);
      if (change.value) {
        stored_[change.key] = *change.value;
        out += fmt::format("\nstored {} = {}", hex(change.key), hex(*change.value));
      } else {
        stored_.erase(change.key);
        out += fmt::format("\nstored {} deleted", hex(change.key));
      }
    }
    return out;
  }

  Lessor lessor_{{}};
  std::map<std::string, std::string> stored_;
  std::map<std::string, LeaseSnapshot> snapshots_;
};

TEST(Lessor, Script) {
  Story story;
  testing::run_script(KEELSON_TEST_DIR "/testdata/lessor.txt",
                      [&](const testing::Directive& directive) { return story.run(directive); });
}

// The bytes themselves are in the script.
TEST(Lease, ReadsWhatItWrites) {
  base::Random random(1);
  for (int i = 0; i < 1000; i++) {
    const Lease lease{
        .id = static_cast<LeaseId>(random.next() | 1),
        .ttl = base::Seconds(static_cast<std::int64_t>(random.below(10)) * 100),
        .remaining_ttl = base::Seconds(static_cast<std::int64_t>(random.below(3)) * 50)};
    EXPECT_EQ(decode_lease(encode_lease(lease)), lease);
  }
}

TEST(Lease, RefusesWhatIsNone) {
  struct Row {
    const char* why;
    std::string bytes;
    bool valid;
  };
  for (const Row& row : {
           Row{"a lease", "\x08\x01\x10\x0a", true},
           Row{"with a field of a later version", "\x08\x01\x10\x0a\x4a\x01x", true},
           Row{"no id", "\x10\x0a", false},
           Row{"cut short", "\x08\x01\x10", false},
           Row{"bytes beyond the end", "\x08\x01\x4a\x05x", false},
           Row{"a ttl that overflows any clock", "\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
               false},
           Row{"a fixed number",
               "\x09"
               "12345678",
               false},
       }) {
    EXPECT_EQ(decode_lease(row.bytes).has_value(), row.valid) << row.why;
  }
  Lessor lessor({});
  EXPECT_TRUE(lessor.recover("\x08\x01\x10\x0a"));
  EXPECT_FALSE(lessor.recover("\x08\x01\x10\x0a")) << "twice";
}

// Against plain maps, with snapshots kept.
struct Model {
  std::map<LeaseId, std::pair<std::int64_t, std::set<std::string>>> leases;
  std::map<std::string, LeaseId> keys;
};

void expect_equal(const LeaseSnapshot& snapshot, const Model& model) {
  ASSERT_EQ(snapshot.size(), model.leases.size());
  auto it = model.leases.begin();
  for (const LeaseId id : snapshot.ids()) {
    ASSERT_EQ(id, it->first);
    EXPECT_EQ(snapshot.find(id)->ttl.count(), it->second.first);
    const auto keys = snapshot.keys_of(id);
    EXPECT_EQ(std::vector<std::string>(it->second.second.begin(), it->second.second.end()), [&] {
      const auto views = keys.to_vector();
      return std::vector<std::string>(views.begin(), views.end());
    }());
    ++it;
  }
}

TEST(Lessor, Twin) {
  for (std::uint64_t seed = 1; seed <= 8; seed++) {
    base::Random random(seed);
    Lessor lessor({});
    Model model;
    std::vector<std::pair<LeaseSnapshot, Model>> snapshots;
    for (int i = 0; i < 5000; i++) {
      base::Batch batch;
      const LeaseId id = static_cast<LeaseId>(random.below(40)) - 5;
      const std::string key = fmt::format("k{}", random.below(seed % 2 == 0 ? 2000 : 100));
      switch (random.below(12)) {
        case 0: {
          const bool expected = id != 0 && !model.leases.contains(id);
          ASSERT_EQ(lessor.grant(batch, id, base::Seconds(i + 2)).ok(), expected);
          if (expected) model.leases[id].first = i + 2;
          break;
        }
        case 1:
          if (!random.one_in(4)) break;
          ASSERT_EQ(lessor.revoke(batch, id).ok(), model.leases.contains(id));
          if (model.leases.contains(id)) {
            for (const auto& hung : model.leases[id].second) model.keys.erase(hung);
            model.leases.erase(id);
          }
          break;
        case 2:
        case 3:
          lessor.detach(key);
          if (model.keys.contains(key)) {
            model.leases[model.keys[key]].second.erase(key);
            model.keys.erase(key);
          }
          break;
        default:
          ASSERT_EQ(lessor.attach(key, id).ok(), model.leases.contains(id));
          if (!model.leases.contains(id)) break;
          if (model.keys.contains(key)) model.leases[model.keys[key]].second.erase(key);
          model.keys[key] = id;
          model.leases[id].second.insert(key);
      }
      ASSERT_EQ(lessor.lease_of(key), model.keys.contains(key) ? model.keys[key] : kNoLease);
      ASSERT_EQ(lessor.attached_keys(), model.keys.size());
      if (random.one_in(300)) snapshots.emplace_back(lessor.snapshot(), model);
    }
    expect_equal(lessor.snapshot(), model);
    for (const auto& [snapshot, then] : snapshots) expect_equal(snapshot, then);
  }
}

TEST(KeySet, IsWalkedInSlices) {
  Lessor lessor({});
  base::Batch batch;
  ASSERT_TRUE(lessor.grant(batch, 1, base::Seconds(9)).ok());
  for (int i = 0; i < 1000; i++) ASSERT_TRUE(lessor.attach(fmt::format("{:04}", i), 1).ok());
  const KeySet keys = lessor.keys_of(1);
  std::string from;
  int seen = 0;
  while (const auto key = keys.at_or_after(from)) {
    EXPECT_EQ(*key, fmt::format("{:04}", seen++));
    from = std::string(*key) + '\0';
  }
  EXPECT_EQ(seen, 1000);
  EXPECT_TRUE(keys.contains("0999"));
  EXPECT_FALSE(keys.contains("1000"));
}

}  // namespace
}  // namespace keelson::lease
