// Model: the multi-version store in the plainest words, for tests to hold State against. It keeps
// every change ever made and computes each answer anew from all of them. No compaction takes
// anything from it but from `bucket()`, which is etcd's own, done as formats.md 5.7 tells it.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "mvcc/record.h"
#include "mvcc/state.h"
#include "proto/kv.pb.h"

namespace keelson::mvcc {

struct ModelChange {
  Revision revision;
  bool tombstone = false;
  mvccpb::KeyValue kv;  // of a tombstone, the key alone

  std::string encoded() const { return kv.SerializeAsString(); }
};

class Model {
 public:
  std::vector<ModelChange> changes;
  std::int64_t revision = 1;
  std::int64_t compact_revision = -1;

  // The key after all changes up to `main`, those of the running operation included.
  const ModelChange* get(const std::string& key, std::int64_t main) const {
    const ModelChange* found = nullptr;
    for (const auto& change : changes) {
      if (change.revision.main <= main && change.kv.key() == key) found = &change;
    }
    return found == nullptr || found->tombstone ? nullptr : found;
  }

  std::vector<ModelChange> live(const std::string& key, const std::string& end,
                                std::int64_t main) const {
    std::set<std::string> keys;
    for (const auto& change : changes) {
      const std::string& k = change.kv.key();
      const bool in = end.empty() ? k == key : k >= key && (end == std::string(1, '\0') || k < end);
      if (in) keys.insert(k);
    }
    std::vector<ModelChange> out;
    for (const auto& k : keys) {
      if (const auto* change = get(k, main)) out.push_back(*change);
    }
    return out;
  }

  struct RangeAnswer {
    std::int64_t count = 0;
    bool more = false;
    std::vector<std::string> kvs;
  };
  base::Result<RangeAnswer, Errc> range(const etcdserverpb::RangeRequest& request,
                                        std::int64_t current) const {
    using R = etcdserverpb::RangeRequest;
    if (request.revision() > current) return base::fail(Errc::kFutureRevision);
    const std::int64_t at = request.revision() <= 0 ? current : request.revision();
    if (at < compact_revision) return base::fail(Errc::kCompacted);
    auto rows = live(request.key(), request.range_end(), at);
    RangeAnswer answer{.count = static_cast<std::int64_t>(rows.size())};
    if (request.count_only()) return answer;

    const auto limit = static_cast<std::size_t>(std::max<std::int64_t>(request.limit(), 0));
    const bool filters = request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
                         request.min_create_revision() != 0 || request.max_create_revision() != 0;
    const bool early = request.sort_order() == R::NONE ||
                       (request.sort_order() == R::ASCEND && request.sort_target() == R::KEY);
    if (early && !filters && limit > 0 && rows.size() > limit + 1) rows.resize(limit + 1);
    std::erase_if(rows, [&request](const ModelChange& row) {
      const auto mod = row.kv.mod_revision(), create = row.kv.create_revision();
      return (request.min_mod_revision() != 0 && mod < request.min_mod_revision()) ||
             (request.max_mod_revision() != 0 && mod > request.max_mod_revision()) ||
             (request.min_create_revision() != 0 && create < request.min_create_revision()) ||
             (request.max_create_revision() != 0 && create > request.max_create_revision());
    });
    std::sort(rows.begin(), rows.end(), [&request](const auto& a, const auto& b) {
      const int order = compare(a.kv, b.kv, request.sort_target());
      if (order == 0) return a.kv.key() < b.kv.key();
      return request.sort_order() == R::DESCEND ? order > 0 : order < 0;
    });
    if (limit > 0 && rows.size() > limit) {
      rows.resize(limit);
      answer.more = true;
    }
    for (auto& row : rows) {
      if (request.keys_only()) row.kv.clear_value();
      if (request.keys_only() && request.sort_target() != R::VALUE) row.kv.clear_lease();
      answer.kvs.push_back(row.encoded());
    }
    return answer;
  }

  // Made in the running operation, which has main revision + 1; end_operation() closes it.
  void put(const std::string& key, const std::string& value, std::int64_t lease) {
    const auto* existing = get(key, revision + 1);
    ModelChange change = next_change();
    change.kv.set_key(key);
    change.kv.set_create_revision(existing ? existing->kv.create_revision() : revision + 1);
    change.kv.set_mod_revision(revision + 1);
    change.kv.set_version(existing ? existing->kv.version() + 1 : 1);
    change.kv.set_value(value);
    change.kv.set_lease(lease);
    changes.push_back(change);
  }
  std::vector<ModelChange> erase(const std::string& key, const std::string& end) {
    const auto doomed = live(key, end, revision + 1);
    for (const auto& row : doomed) {
      ModelChange change = next_change();
      change.tombstone = true;
      change.kv.set_key(row.kv.key());
      changes.push_back(change);
    }
    return doomed;
  }
  bool changed() const { return !changes.empty() && changes.back().revision.main > revision; }
  void end_operation() {
    if (changed()) revision++;
  }

  // The events of [first, last], each with the revision of its previous value.
  std::vector<std::pair<Revision, std::optional<Revision>>> events(const std::string& key,
                                                                   const std::string& end,
                                                                   std::int64_t first,
                                                                   std::int64_t last) const {
    std::vector<std::pair<Revision, std::optional<Revision>>> out;
    for (const auto& change : changes) {
      const std::int64_t main = change.revision.main;
      const std::string& k = change.kv.key();
      const bool in = end.empty() ? k == key : k >= key && (end == std::string(1, '\0') || k < end);
      if (!in || main < first || main > last) continue;
      if (main == compact_revision && newest_at(k, main) != change.revision) continue;
      const auto* before = get(k, main - 1);
      const bool creation = change.kv.create_revision() == main;
      const bool has_previous = before != nullptr && !creation && main - 1 >= compact_revision;
      out.emplace_back(change.revision,
                       has_previous ? std::optional(before->revision) : std::nullopt);
    }
    return out;
  }

  // etcd's key bucket after the compactions so far, and the hashes over it.
  void compact(std::int64_t at) {
    std::set<Revision> keep;
    for (const auto& [key, generations] : generations_of(bucket())) {
      if (const auto kept = select(generations, at)) keep.insert(kept->revision);
    }
    std::erase_if(bucket_, [&](const ModelChange& change) {
      return change.revision.main <= at && !keep.contains(change.revision);
    });
    compact_revision = at;
  }
  const std::vector<ModelChange>& bucket() {
    for (; copied_ < changes.size(); copied_++) bucket_.push_back(changes[copied_]);
    return bucket_;
  }
  std::uint32_t hash_kv(std::int64_t at, bool of_compaction = false) {
    std::set<Revision> keep;
    for (const auto& [key, generations] : generations_of(bucket())) {
      const auto kept = select(generations, at);
      if (kept && (of_compaction || !kept->tombstone)) keep.insert(kept->revision);
    }
    std::uint32_t crc = base::crc32c(0, "key");
    for (const auto& change : bucket()) {
      const std::int64_t main = change.revision.main;
      if (main > at) continue;
      if (main <= compact_revision && !keep.empty() && !keep.contains(change.revision)) continue;
      if (change.tombstone && main == compact_revision) continue;
      crc = feed(crc, change);
    }
    return crc;
  }
  std::uint32_t hash_whole() {
    std::uint32_t crc = base::crc32c(0, "key");
    for (const auto& change : bucket()) crc = feed(crc, change);
    return crc;
  }

 private:
  using Generation = std::vector<ModelChange>;

  static int compare(const mvccpb::KeyValue& a, const mvccpb::KeyValue& b,
                     etcdserverpb::RangeRequest::SortTarget target) {
    const auto order = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
    switch (target) {
      case etcdserverpb::RangeRequest::VERSION:
        return order(a.version(), b.version());
      case etcdserverpb::RangeRequest::CREATE:
        return order(a.create_revision(), b.create_revision());
      case etcdserverpb::RangeRequest::MOD:
        return order(a.mod_revision(), b.mod_revision());
      case etcdserverpb::RangeRequest::VALUE:
        return order(a.value(), b.value());
      default:
        return order(a.key(), b.key());
    }
  }

  ModelChange next_change() const {
    return {.revision = {revision + 1, changed() ? changes.back().revision.sub + 1 : 0}};
  }
  Revision newest_at(const std::string& key, std::int64_t main) const {
    Revision newest;
    for (const auto& change : changes) {
      if (change.kv.key() == key && change.revision.main <= main) newest = change.revision;
    }
    return newest;
  }
  // Each key's generations, the last one perhaps empty: a tombstone ends one and begins another.
  static std::map<std::string, std::vector<Generation>> generations_of(
      const std::vector<ModelChange>& bucket) {
    std::map<std::string, std::vector<Generation>> keys;
    for (const auto& change : bucket) {
      auto& generations = keys[change.kv.key()];
      if (generations.empty()) generations.emplace_back();
      generations.back().push_back(change);
      if (change.tombstone) generations.emplace_back();
    }
    return keys;
  }
  // "in the generation that is live at R (first generation whose last revision >= R, or the last
  // generation), keep the greatest revision <= R"
  static std::optional<ModelChange> select(const std::vector<Generation>& generations,
                                           std::int64_t at) {
    std::size_t chosen = 0;
    while (chosen + 1 < generations.size() && generations[chosen].back().revision.main < at)
      chosen++;
    std::optional<ModelChange> greatest;
    for (const auto& change : generations[chosen]) {
      if (change.revision.main <= at) greatest = change;
    }
    return greatest;
  }
  static std::uint32_t feed(std::uint32_t crc, const ModelChange& change) {
    crc = base::crc32c(crc, base::revision_key(change.revision, change.tombstone));
    return base::crc32c(crc, change.encoded());
  }

  std::vector<ModelChange> bucket_;
  std::size_t copied_ = 0;
};

}  // namespace keelson::mvcc
