// SharedRuns: what long answers of one lane have sent lately, for others that ask for much the
// same.
//
// After a restart of what stands before it, a server is asked for the same large ranges by many at
// once. Whoever of them is first at a run of rows reads, checks and encodes it; those behind send
// the same bytes. A run is known by its revisions, and what is stored under a revision never
// changes, so a hit is right whatever View either of them reads.
//
// Nothing is kept for an answer that is alone, and nothing beyond `bytes_max`: the oldest runs go
// first. Touched by jobs of its lane only.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/containers.h"
#include "base/revision.h"

namespace keelson::api {

class SharedRuns {
 public:
  explicit SharedRuns(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  SharedRuns(const SharedRuns&) = delete;
  SharedRuns& operator=(const SharedRuns&) = delete;

  // One long answer, for as long as it lives. When at most one is left, nothing is kept.
  class Party {
   public:
    explicit Party(SharedRuns& runs) : runs_(runs) { runs_.parties_++; }
    ~Party() { runs_.leave(); }
    Party(const Party&) = delete;
    Party& operator=(const Party&) = delete;

   private:
    SharedRuns& runs_;
  };

  // Whether it is worth encoding a run for others.
  bool wanted() const { return parties_ > 1; }
  // What was kept for exactly these revisions in this order; empty if nothing was.
  base::SharedBytes find(std::span<const base::Revision> revisions) const;
  // `bytes` is what rows of these revisions look like on the wire. Needs wanted().
  void keep(std::vector<base::Revision> revisions, base::SharedBytes bytes);

  std::size_t bytes() const { return bytes_; }

 private:
  struct Run {
    std::vector<base::Revision> revisions;
    base::SharedBytes encoded;
    std::size_t cost() const {
      return encoded.size() + revisions.capacity() * sizeof(base::Revision);
    }
  };
  using First = std::pair<std::int64_t, std::int64_t>;  // the first revision of a run

  static First first_of(std::span<const base::Revision> revisions) {
    return {revisions.front().main, revisions.front().sub};
  }
  void drop_oldest();
  void leave();

  const std::size_t bytes_max_;
  std::size_t parties_ = 0;
  std::size_t bytes_ = 0;
  std::deque<std::shared_ptr<const Run>> runs_;                // oldest first
  base::HashMap<First, std::shared_ptr<const Run>> by_first_;  // the newest that begins so
};

}  // namespace keelson::api
