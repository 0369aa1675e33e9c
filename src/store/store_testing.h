// For the tests of this directory: a small multi-version writer over a Store on a simulated disk.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/storage.h"
#include "base/varint.h"
#include "env/simulated/disk.h"
#include "store/store.h"

namespace keelson::store::testing {

inline std::string encode_key_value(std::string_view key, std::int64_t create, std::int64_t mod,
                                    std::int64_t version, std::string_view value,
                                    std::int64_t lease) {
  std::string out;
  base::put_bytes_field(out, 1, key);
  base::put_varint_field(out, 2, static_cast<std::uint64_t>(create));
  base::put_varint_field(out, 3, static_cast<std::uint64_t>(mod));
  base::put_varint_field(out, 4, static_cast<std::uint64_t>(version));
  base::put_bytes_field(out, 5, value);
  base::put_varint_field(out, 6, static_cast<std::uint64_t>(lease));
  return out;
}

// The value (field 5) of an encoded KeyValue.
inline std::string decode_value(std::string_view encoded) {
  while (!encoded.empty()) {
    const auto tag = base::take_varint(encoded), number = base::take_varint(encoded);
    if (!tag || !number) return "?";
    if ((*tag & 7) != 2) continue;
    if (*tag >> 3 == 5) return std::string(encoded.substr(0, *number));
    encoded.remove_prefix(*number);
  }
  return "";
}

inline std::string revision_value(std::int64_t main) {
  return base::revision_key({main, 0}, false);
}

// What the store must hold: every change ever made, and the rule of what is alive at a floor. Slow
// and obvious.
struct Truth {
  struct Change {
    std::string key;
    bool tombstone = false;
    std::int64_t create = 0, version = 0, lease = 0;
    std::string encoded;
  };
  std::map<base::Revision, Change> changes;
  std::map<std::string, std::string> buckets;  // "<bucket>/<key>"
  std::int64_t floor = -1;
  std::int64_t revision = 1;
  std::uint64_t applied = 0;

  // Per key its live changes, ascending.
  std::map<std::string, std::vector<base::Revision>> live() const {
    std::map<std::string, std::vector<base::Revision>> all, kept;
    for (const auto& [at, change] : changes) all[change.key].push_back(at);
    for (const auto& [key, history] : all) {
      for (std::size_t i = 0; i < history.size(); i++) {
        const bool is_newest_at_floor =
            history[i].main <= floor && (i + 1 == history.size() || history[i + 1].main > floor);
        const bool kept_at_floor =
            is_newest_at_floor && (!changes.at(history[i]).tombstone || history[i].main == floor);
        if (history[i].main > floor || kept_at_floor) kept[key].push_back(history[i]);
      }
    }
    return kept;
  }
};

// A line a live revision: "key main/sub create=c version=v lease=l", or "key main/sub deleted".
inline std::string describe(std::string_view key, const LiveRevision& revision) {
  std::string out = fmt::format("{} {}", key, revision.mod);
  if (revision.tombstone) return out + " deleted";
  out += fmt::format(" create={} version={}", revision.create_revision, revision.version);
  if (revision.lease != 0) out += fmt::format(" lease={}", revision.lease);
  return out;
}

class World {
 public:
  explicit World(std::uint64_t seed = 1) : disk_(seed) {
    options_.store_id = 7;
    options_.segment_bytes = 4096;
    options_.collection_gain_bytes = 1024;
    options_.collection_slice_bytes = 1024;
    options_.cut_bytes = 4096;
    options_.push_out_bytes = 2048;
    options_.key_block_bytes = 512;
    options_.bucket_log_dead_bytes = 2048;
    options_.reserve = false;
  }

  env::simulated::Disk& disk() { return disk_; }
  Options& options() { return options_; }
  const std::string& directory() const { return directory_; }
  Store& store() { return *store_; }
  const Recovered& recovered() const { return recovered_; }
  const Truth& truth() const { return truth_; }
  base::TimePoint now() const { return now_; }

  // Opens and loads; the writer goes on from what was recovered. The error is in error().
  bool open() {
    auto opened = Store::open(disk_, directory_, options_);
    if (!opened) return fail(opened.error());
    store_ = std::move(opened->store);
    recovered_ = opened->recovered;
    lines_.clear();
    loaded_.clear();
    const auto loaded =
        store_->load([this](std::string_view key, std::span<const LiveRevision> live) {
          for (const LiveRevision& revision : live) {
            lines_.push_back(describe(key, revision));
            loaded_[std::string(key)].push_back(revision.mod);
          }
        });
    if (!loaded) return fail(loaded.error());
    rewind();
    return true;
  }
  bool reopen() {
    store_.reset();
    return open();
  }
  bool crash(env::simulated::Disk::Crash mode) {
    store_.reset();
    disk_.crash(mode);
    return open();
  }
  void close() { store_.reset(); }
  // Another world with the same files, nothing pending, and the same truth; closed.
  std::unique_ptr<World> fork() const {
    auto other = std::make_unique<World>();
    other->options_ = options_;
    other->truth_ = truth_;
    other->history_ = history_;
    CHECK(other->disk_.make_directories(directory_));
    for (const auto& [path, content] : disk_.contents()) {
      CHECK(env::write_file(other->disk_, path, content));
    }
    CHECK(other->disk_.sync_directory(directory_));
    return other;
  }
  const std::string& error() const { return error_; }

  // What load() told: lines, and revisions by key.
  const std::vector<std::string>& live() const { return lines_; }
  const std::map<std::string, std::vector<base::Revision>>& loaded() const { return loaded_; }

  // One transaction each, kept until commit().
  void put(const std::string& key, std::string_view value, std::int64_t lease = 0) {
    begin_transaction();
    put_in_transaction(key, value, lease);
  }
  void put_in_transaction(const std::string& key, std::string_view value, std::int64_t lease = 0) {
    const auto newest = newest_.find(key);
    const bool exists = newest != newest_.end() && !truth_.changes.at(newest->second).tombstone;
    const Truth::Change* before = exists ? &truth_.changes.at(newest->second) : nullptr;
    const base::Revision at{truth_.revision, sub_};
    Truth::Change change{.key = key,
                         .create = before ? before->create : at.main,
                         .version = before ? before->version + 1 : 1,
                         .lease = lease};
    change.encoded = encode_key_value(key, change.create, at.main, change.version, value, lease);
    add(at, std::move(change));
  }
  void erase(const std::string& key) {
    begin_transaction();
    erase_in_transaction(key);
  }
  void erase_in_transaction(const std::string& key) {
    Truth::Change change{.key = key, .tombstone = true};
    base::put_bytes_field(change.encoded, 1, key);
    add({truth_.revision, sub_}, std::move(change));
  }
  bool exists(const std::string& key) const {
    const auto it = newest_.find(key);
    return it != newest_.end() && !truth_.changes.at(it->second).tombstone;
  }
  // Further changes go under the revision of this one.
  void begin_transaction() {
    truth_.revision++;
    sub_ = 0;
  }
  void change(base::Bucket bucket, const std::string& key, std::optional<std::string> value) {
    const std::string name = fmt::format("{}/{}", base::bucket_name(bucket), key);
    if (value) {
      truth_.buckets[name] = *value;
      batch_->put(bucket, key, *value);
    } else {
      truth_.buckets.erase(name);
      batch_->erase(bucket, key);
    }
  }
  // Raises the floor; commit() then tells the store who died.
  void compact(std::int64_t floor) {
    truth_.floor = floor;
    change(base::Bucket::kMeta, std::string(base::kScheduledCompactKey), revision_value(floor));
  }

  // The batch made so far, as applied but not appended.
  std::shared_ptr<const base::Batch> commit_pending() {
    batch_->set_applied(++truth_.applied, 1);
    auto batch = std::exchange(batch_, std::make_shared<base::Batch>());
    history_[truth_.applied] = {truth_.revision, truth_.floor, truth_.buckets};
    return batch;
  }
  bool append(std::shared_ptr<const base::Batch> batch) {
    const auto appended = store_->append(std::move(batch));
    return appended ? true : fail(appended.error());
  }
  bool commit() {
    const auto before = dead_known_floor_;
    if (!append(commit_pending())) return false;
    if (truth_.floor > before) mark_dead();
    return true;
  }
  bool checkpoint() {
    now_ += base::Seconds(1);
    const auto done = store_->checkpoint(now_, base::WallTime(now_.time_since_epoch()));
    return done ? true : fail(done.error());
  }
  // Runs background work until there is none that is due, waits inline.
  bool settle(int steps_max = 100000) {
    for (int i = 0; i < steps_max; i++) {
      auto step = store_->step(now_, {});
      if (!step) return fail(step.error());
      while (step->wait) {
        step = store_->waited(step->wait(), now_);
        if (!step) return fail(step.error());
      }
      if (!step->again) return true;
      now_ = std::max(now_, *step->again);
    }
    return fail(base::make_error(std::errc::timed_out, "background work does not end"));
  }
  // One step, and its wait.
  bool step() {
    auto step = store_->step(now_, {});
    if (!step) return fail(step.error());
    if (step->wait) step = store_->waited(step->wait(), now_);
    if (!step) return fail(step.error());
    if (step->again) now_ = std::max(now_, *step->again);
    return true;
  }

  // The value of a revision; "error <errc>", "cold".
  static std::string value(const base::RevisionReader& reader, base::Revision revision) {
    base::ReadResult result;
    reader.read(std::span(&revision, 1), std::span(&result, 1));
    return text(result);
  }
  static std::string text(const base::ReadResult& result) {
    switch (result.state) {
      case base::ReadResult::State::kBytes:
        return decode_value(result.bytes);
      case base::ReadResult::State::kCold:
        return "cold";
      case base::ReadResult::State::kError:
        return fmt::format("error {}", static_cast<int>(result.error));
    }
    return "?";
  }

  // Compares everything the store says with the truth at its applied index; "" if it agrees.
  std::string check() {
    const auto live = truth_.live();
    const auto reader = make_reader(store_->snapshot(), {});
    for (const auto& [key, revisions] : live) {
      std::vector<base::ReadResult> results(revisions.size());
      reader->read(revisions, results);
      for (std::size_t i = 0; i < revisions.size(); i++) {
        if (results[i].state != base::ReadResult::State::kBytes) {
          return fmt::format("{} at {}: {}", key, revisions[i], text(results[i]));
        }
        if (results[i].bytes.view() != truth_.changes.at(revisions[i]).encoded) {
          return fmt::format("{} at {}: other bytes", key, revisions[i]);
        }
      }
    }
    std::map<std::string, std::string> buckets;
    for (std::size_t i = 0; i < base::kBucketCount; i++) {
      const auto bucket = static_cast<base::Bucket>(i);
      for (const auto& [key, value] : store_->buckets()[bucket]) {
        buckets[fmt::format("{}/{}", base::bucket_name(bucket), key)] = value;
      }
    }
    return buckets == truth_.buckets ? "" : "buckets differ";
  }
  // After open(): also that load() told exactly the live ones.
  std::string check_loaded() {
    if (loaded_ != truth_.live()) {
      std::string out = fmt::format("loaded differs at floor {}:", truth_.floor);
      const auto live = truth_.live();
      for (const auto& [key, revisions] : loaded_) {
        const auto it = live.find(key);
        if (it == live.end() || it->second != revisions) out += " +" + key;
      }
      for (const auto& [key, revisions] : live) {
        if (!loaded_.contains(key)) out += " -" + key;
      }
      return out;
    }
    return check();
  }

 private:
  bool fail(const base::Error& error) {
    error_ = error.message();
    return false;
  }

  void add(base::Revision at, Truth::Change change) {
    batch_->add({.revision = at,
                 .tombstone = change.tombstone,
                 .create_revision = change.create,
                 .version = change.version,
                 .lease = change.lease,
                 .encoded = base::SharedBytes(change.encoded)});
    newest_[change.key] = at;
    truth_.changes[at] = std::move(change);
    sub_++;
  }

  void mark_dead() {
    const auto live = truth_.live();
    std::map<std::string, std::vector<base::Revision>> dead;
    for (const auto& [at, change] : truth_.changes) {
      if (at.main > truth_.floor || told_dead_.contains(at)) continue;
      const auto it = live.find(change.key);
      if (it == live.end() ||
          std::find(it->second.begin(), it->second.end(), at) == it->second.end()) {
        dead[change.key].push_back(at);
        told_dead_.insert(at);
      }
    }
    for (const auto& [key, revisions] : dead) store_->mark_dead(revisions);
    dead_known_floor_ = truth_.floor;
  }

  // The writer goes on from the state that the store has.
  void rewind() {
    const Mark mark =
        recovered_.applied_index == 0 ? Mark{} : history_.at(recovered_.applied_index);
    history_.erase(history_.upper_bound(recovered_.applied_index), history_.end());
    truth_.applied = recovered_.applied_index;
    truth_.revision = mark.revision;
    truth_.floor = mark.floor;
    truth_.buckets = mark.buckets;
    truth_.changes.erase(truth_.changes.lower_bound({mark.revision + 1, 0}), truth_.changes.end());
    batch_ = std::make_shared<base::Batch>();
    newest_.clear();
    for (const auto& [at, change] : truth_.changes) newest_[change.key] = at;
    told_dead_.clear();
    const auto live = truth_.live();
    for (const auto& [at, change] : truth_.changes) {
      const auto it = live.find(change.key);
      if (at.main <= truth_.floor &&
          (it == live.end() ||
           std::find(it->second.begin(), it->second.end(), at) == it->second.end())) {
        told_dead_.insert(at);
      }
    }
    dead_known_floor_ = truth_.floor;
    sub_ = 0;
  }

  env::simulated::Disk disk_;
  const std::string directory_ = "/data/store";
  Options options_;
  std::unique_ptr<Store> store_;
  Recovered recovered_;
  std::string error_;
  std::vector<std::string> lines_;
  std::map<std::string, std::vector<base::Revision>> loaded_;
  base::TimePoint now_{};

  // Where the truth stood when an index had been applied; its changes are those up to the revision.
  struct Mark {
    std::int64_t revision = 1;
    std::int64_t floor = -1;
    std::map<std::string, std::string> buckets;
  };
  Truth truth_;  // with the batch being made
  std::map<std::uint64_t, Mark> history_;
  std::shared_ptr<base::Batch> batch_ = std::make_shared<base::Batch>();
  std::map<std::string, base::Revision> newest_;
  std::set<base::Revision> told_dead_;
  std::int64_t dead_known_floor_ = -1;
  std::int64_t sub_ = 0;
};

}  // namespace keelson::store::testing
