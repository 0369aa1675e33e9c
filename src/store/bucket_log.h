// BucketLog: one generation of the log from which the small buckets are built.
// docs/format/store.md 3.
//
// Belongs to the store lane.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "base/time.h"
#include "env/file.h"
#include "store/buckets.h"
#include "store/volume.h"

namespace keelson::store {

// A place in a log and the chain of what lies before it.
struct LogPlace {
  std::uint64_t length = 0;
  std::uint32_t chain = 0;
  friend bool operator==(const LogPlace&, const LogPlace&) = default;
};

class BucketLog {
 public:
  // A new, empty log. Nothing is synced.
  static base::Result<std::unique_ptr<BucketLog>> create(Volume& volume, std::uint64_t id,
                                                         base::WallTime now);
  // What is in the log's file: readable until drop_after().
  static base::Result<std::unique_ptr<BucketLog>> open(Volume& volume, std::uint64_t id);

  // Of an opened log: true if it reaches `place` undamaged.
  bool reaches(LogPlace place) const;
  // Of an opened log: applies all up to `place` to `buckets`, cuts off the rest, and goes on from
  // there.
  base::Result<> recover(LogPlace place, Buckets& buckets);

  // One change set. Nothing for no changes.
  base::Result<> append(std::span<const base::BucketChange> changes);
  // Nothing if nothing was appended since the last time.
  base::Result<> sync();

  std::uint64_t id() const { return id_; }
  LogPlace place() const { return place_; }

 private:
  BucketLog(Volume& volume, std::uint64_t id, std::unique_ptr<env::File> file)
      : volume_(volume), id_(id), file_(std::move(file)) {}
  void scan();

  Volume& volume_;
  const std::uint64_t id_;
  std::unique_ptr<env::File> file_;
  LogPlace place_;
  bool dirty_ = true;             // appended to since the last sync
  std::string content_;           // of an opened log
  std::vector<LogPlace> places_;  // of an opened log: after each change set that is whole
};

}  // namespace keelson::store
