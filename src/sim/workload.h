// Workload: which requests random clients make. A few keys, so that they meet; values that nobody
// else writes, so that a value tells which request wrote it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/time.h"
#include "sim/model.h"

namespace keelson::sim {

struct Request {
  std::string service;  // "KV"
  std::string method;   // "Put"
  std::string bytes;
  // The answer is not read for so long: the server holds its View meanwhile.
  base::Duration hold{0};

  std::string path() const { return "/etcdserverpb." + service + "/" + method; }
};

struct WorkloadOptions {
  std::uint64_t keys = 12;
  std::uint64_t value_bytes_max = 400;
  std::uint64_t large_one_in = 8;  // values that may be as large as that
  std::uint64_t slow_one_in = 6;   // ranges that read everything, and take their time
  bool reads_only = false;         // linearizable ones
};

class Workload {
 public:
  // `model` is looked at for revisions and leases worth asking for.
  Workload(base::Random& random, const Model& model, WorkloadOptions options)
      : random_(random), model_(model), options_(options) {}

  Request next();
  // All keys, at `revision` (0: now); their hash; all leases.
  static Request read_all(std::int64_t revision);
  static Request hash_at(std::int64_t revision);
  static Request all_leases();
  // Changes of the members.
  static Request add_member(const std::string& peer_url, bool learner);
  static Request remove_member(std::uint64_t id);
  static Request promote_member(std::uint64_t id);
  static Request move_leader(std::uint64_t to);  // asked of the leader

 private:
  std::string key();
  std::string value();
  std::int64_t any_lease() { return 1 + static_cast<std::int64_t>(random_.below(kLeases)); }
  std::int64_t lease_for_put();
  std::int64_t past_revision();
  void range_of_keys(std::string& key, std::string& end);
  Request put();
  Request erase();
  Request range();
  Request txn();
  // Adds operations to a branch; `free` are the keys that this txn does not write yet.
  void fill(google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& branch,
            std::vector<std::string>& free, int depth);
  etcdserverpb::PutRequest put_of(std::string key);
  Request alarm();
  Request compact();
  Request about_leases();
  Request hash();

  static constexpr std::uint64_t kLeases = 12;

  base::Random& random_;
  const Model& model_;
  const WorkloadOptions options_;
  std::uint64_t values_ = 0;
};

}  // namespace keelson::sim
