// RunPool: what the long answers of one lane hold of the rows they are sending.
//
// A long answer reads its rows in runs, one at a time, and a client that does not read leaves a run
// lying. Ten thousand of those must cost no more than a few. So the runs of a lane share a budget:
// beyond it the answers that have waited longest drop theirs, and read them again when their client
// goes on (their View is held, so they can). Where there are many, runs are shorter; in few steps,
// so that answers side by side still have the same runs to share.
//
// Invariant   all runs but the newest take at most `bytes_max` together
// Belongs to one lane. Outlives its holders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>

namespace keelson::api {

class RunPool {
 public:
  class Holder {
   public:
    virtual ~Holder() = default;
    // Frees the run, which is out of the pool already. Comes from within another's hold(); calls
    // nothing here.
    virtual void drop_run() = 0;

   private:
    friend class RunPool;
    std::list<Holder*>::iterator place_;
    std::size_t bytes_ = 0;
    bool holds_ = false;
  };

  explicit RunPool(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  RunPool(const RunPool&) = delete;
  RunPool& operator=(const RunPool&) = delete;

  // How many bytes of rows the next run may have, more or less one row.
  std::uint64_t run_bytes() const {
    if (holders_.size() < 32) return std::uint64_t{1} << 20;
    return holders_.size() < 128 ? std::uint64_t{256} << 10 : std::uint64_t{64} << 10;
  }
  // `holder` has a run of so many bytes now, in the place of the one it had.
  void hold(Holder& holder, std::size_t bytes) {
    release(holder);
    holder.place_ = holders_.insert(holders_.end(), &holder);
    holder.bytes_ = bytes;
    holder.holds_ = true;
    bytes_ += bytes;
    while (bytes_ > bytes_max_ && holders_.front() != &holder) {
      Holder& oldest = *holders_.front();
      release(oldest);
      oldest.drop_run();
    }
  }
  // It is being sent from.
  void touch(Holder& holder) {
    if (holder.holds_) holders_.splice(holders_.end(), holders_, holder.place_);
  }
  // It has no run any more. Nothing if it had none.
  void release(Holder& holder) {
    if (!holder.holds_) return;
    holders_.erase(holder.place_);
    bytes_ -= holder.bytes_;
    holder.holds_ = false;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::list<Holder*> holders_;  // longest not sent from first
};

}  // namespace keelson::api
