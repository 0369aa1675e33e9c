// KeyMerge: the key lists of all segments as one, in order of (key, revision). What a start and
// nothing else does with all keys; D4.
//
// A loser tree: each step replaces one leaf and plays its way up once, log2(sources) comparisons of
// keys.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "store/footer.h"

namespace keelson::store {

class KeyMerge {
 public:
  // `sources` in the order of their segments, so that equal keys come in order of revision.
  // `unmerged`: BrokenRules::load_unmerged.
  explicit KeyMerge(std::vector<std::unique_ptr<KeySource>> sources, bool unmerged = false);

  // False at the end.
  base::Result<bool> next();
  const KeyRow& row() const { return sources_[winner_]->row(); }
  // Which of the sources the row is of.
  std::size_t source() const { return winner_; }

 private:
  base::Result<> start();
  void replay(std::size_t leaf);
  bool is_before(std::size_t a, std::size_t b) const;

  std::vector<std::unique_ptr<KeySource>> sources_;
  const bool unmerged_;
  std::vector<bool> over_;
  std::vector<std::size_t> losers_;  // of inner node i; losers_[0] unused
  std::size_t winner_ = 0;
  bool started_ = false;
};

}  // namespace keelson::store
