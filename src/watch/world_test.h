// World: a hub with everything around it, for tests: a real store below, an obvious model of what
// was written, streams that take what they are told apart, and everything that can go in between:
// batches on their way, lost ones, rounds that take their time, streams that are full, cold reads.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "mvcc/memory_store_test.h"
#include "mvcc/state.h"
#include "proto/rpc.pb.h"
#include "watch/hub.h"

namespace keelson::watch {

// One change, as the model keeps it for ever.
struct Change {
  std::int64_t revision = 0;
  bool deleted = false;
  mvccpb::KeyValue kv;        // of a deletion key and mod_revision
  mvccpb::KeyValue previous;  // empty key: a creation
};

// The store in the plainest words.
class Model {
 public:
  std::vector<Change> changes;
  std::int64_t revision = 1;
  std::int64_t compact_revision = -1;

  void put(const std::string& key, const std::string& value) {
    Change change{.revision = revision + 1, .deleted = false, .kv = {}, .previous = before(key)};
    change.kv.set_key(key);
    change.kv.set_value(value);
    change.kv.set_mod_revision(revision + 1);
    const bool creation = change.previous.key().empty();
    change.kv.set_create_revision(creation ? revision + 1 : change.previous.create_revision());
    change.kv.set_version(change.previous.version() + 1);
    add(change);
  }
  void erase(const std::string& key) {
    if (before(key).key().empty()) return;
    Change change{.revision = revision + 1, .deleted = true, .kv = {}, .previous = before(key)};
    change.kv.set_key(key);
    change.kv.set_mod_revision(revision + 1);
    add(change);
  }
  void end_operation() {
    if (!changes.empty() && changes.back().revision > revision) revision++;
    live_before_ = live_;
  }
  std::vector<std::string> live_keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, kv] : live_) keys.push_back(key);
    return keys;
  }

 private:
  mvccpb::KeyValue before(const std::string& key) const {
    const auto it = live_before_.find(key);
    return it == live_before_.end() ? mvccpb::KeyValue() : it->second;
  }
  void add(Change change) {
    const std::string key = change.kv.key();
    if (change.deleted) {
      live_.erase(key);
    } else {
      live_[key] = change.kv;
    }
    changes.push_back(std::move(change));
  }

  std::map<std::string, mvccpb::KeyValue> live_;         // now
  std::map<std::string, mvccpb::KeyValue> live_before_;  // before the running operation
};

// Says "cold" by chance, or what the store says.
class ColdReader final : public base::RevisionReader {
 public:
  explicit ColdReader(const mvcc::MemoryStore& store) : store_(store) {}
  // One in `n` reads is cold; 0: none.
  void chill(std::uint64_t n) { one_in_ = n; }

  void try_read(std::span<const base::Revision> revisions,
                std::span<base::ReadResult> out) const override {
    store_.read(revisions, out);
    for (auto& result : out) {
      if (one_in_ > 0 && random_.one_in(one_in_)) result = {};
    }
  }
  void read(std::span<const base::Revision> revisions,
            std::span<base::ReadResult> out) const override {
    store_.read(revisions, out);
  }
  std::unique_ptr<base::RevisionScan> scan(base::Revision first,
                                           base::Revision last) const override {
    return store_.scan(first, last);
  }
  std::unique_ptr<base::RevisionHasher> hasher() const override { return store_.hasher(); }

 private:
  const mvcc::MemoryStore& store_;
  std::uint64_t one_in_ = 0;
  mutable base::Random random_{7};
};

class NoLeases final : public mvcc::Leases {
 public:
  bool exists(std::int64_t) const override { return false; }
  std::int64_t lease_of(std::string_view) const override { return 0; }
  void moved(std::string_view, std::int64_t, std::int64_t) override {}
};

class World {
 public:
  explicit World(Hub::Options options) : hub(options, 1) { publish(); }

  // --- writing. Each becomes a batch on its way to the hub, or joins the open one.

  void put(const std::string& key, const std::string& value) {
    write([&] {
      etcdserverpb::PutRequest request;
      request.set_key(key);
      request.set_value(value);
      CHECK(state.put(request).ok());
      model.put(key, value);
    });
  }
  void erase(const std::string& key, const std::string& end) {
    write([&] {
      etcdserverpb::DeleteRangeRequest request;
      request.set_key(key);
      request.set_range_end(end);
      CHECK(state.delete_range(request).ok());
      for (const std::string& live : model.live_keys()) {
        if (mvcc::KeyRange::of(key, end).contains(live)) model.erase(live);
      }
    });
  }
  // Puts and deletions of different keys under one revision; an empty value deletes.
  void txn(const std::map<std::string, std::string>& changes) {
    write([&] {
      etcdserverpb::TxnRequest request;
      for (const auto& [key, value] : changes) {
        auto& op = *request.add_success();
        if (value.empty()) {
          op.mutable_request_delete_range()->set_key(key);
          model.erase(key);
        } else {
          op.mutable_request_put()->set_key(key);
          op.mutable_request_put()->set_value(value);
          model.put(key, value);
        }
      }
      CHECK(state.txn(request, true).ok());
    });
  }
  void compact(std::int64_t revision) {
    write([&] {
      if (!state.compact(revision)) return;
      model.compact_revision = revision;
    });
  }
  // What is written until end_batch() comes to the hub as one batch.
  void begin_batch() { open_ = true; }
  void end_batch() {
    open_ = false;
    if (batch_) publish();
  }

  // --- the way to the hub

  // Batches that are on their way.
  std::deque<std::shared_ptr<const mvcc::EventBatch>> channel;

  // Hands over up to `count` batches and lets the hub work.
  void hand_over(std::size_t count, std::size_t budget) {
    for (; count > 0 && !channel.empty(); count--) {
      hub.push(channel.front(), published);
      channel.pop_front();
    }
    work(budget);
  }
  void work(std::size_t budget) { hub.deliver(published, reader, budget); }
  // The oldest batches on their way are lost.
  void lose(std::size_t count) {
    for (; count > 0 && !channel.empty(); count--) channel.pop_front();
    hub.lose(published);
  }

  bool begin_round() {
    auto wanted = hub.begin_round(published);
    if (!wanted) return false;
    round_ = {*std::move(wanted), published};
    return true;
  }
  void end_round() {
    CHECK(hub.round_under_way());
    hub.end_round(catch_up(round_->second, reader, round_->first, hub.slice_limits()), published,
                  reader);
  }
  // Until nothing moves.
  void settle() {
    for (bool moved = true; moved;) {
      moved = !channel.empty();
      hand_over(channel.size(), 1'000'000);
      hub.resume_all();
      if (!hub.round_under_way() && !begin_round()) continue;
      end_round();
      moved = true;
    }
  }

  Model model;
  NoLeases leases;
  mvcc::State state{leases, {}};
  mvcc::MemoryStore store;
  ColdReader reader{store};
  mvcc::View published;
  Hub hub;

 private:
  template <class F>
  void write(F&& operation) {
    if (!batch_) {
      batch_ = std::make_unique<base::Batch>();
      state.begin(*batch_, store);
    }
    operation();
    model.end_operation();
    CHECK_EQ(model.revision, state.revision());
    if (!open_) publish();
  }
  // Views are never given back: rounds may hold any.
  void publish() {
    if (!batch_) {
      published = state.publish();
      return;
    }
    while (state.compacting()) MAYBE(state.compact_slice(1000));
    published = state.publish();
    store.append(*batch_);
    batch_.reset();
    auto events = state.take_events();
    channel.push_back(std::make_shared<const mvcc::EventBatch>(std::move(events)));
  }

  std::unique_ptr<base::Batch> batch_;
  bool open_ = false;
  std::optional<std::pair<Wanted, mvcc::View>> round_;
};

}  // namespace keelson::watch
