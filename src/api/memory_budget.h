// MemoryBudget: what the reads of one lane gather before they can answer, all together.
//
// A range in another order than that of keys keeps its rows until the client has them. Each has a
// bound of its own; many at once need one together.
//
// Belongs to one lane.
#pragma once

#include <cstddef>
#include <utility>

namespace keelson::api {

class MemoryBudget {
 public:
  explicit MemoryBudget(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;
  std::size_t used() const { return used_; }

  // One reader's share, given back when it goes.
  class Share {
   public:
    explicit Share(MemoryBudget& budget) : budget_(&budget) {}
    Share(Share&& other) noexcept
        : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    Share& operator=(Share&&) = delete;
    ~Share() { budget_->used_ -= bytes_; }

    // It takes so much now; false if all together take more than there is.
    bool set(std::size_t bytes) {
      budget_->used_ += bytes - bytes_;
      bytes_ = bytes;
      return bytes == 0 || budget_->used_ <= budget_->bytes_max_;
    }

   private:
    MemoryBudget* budget_;
    std::size_t bytes_ = 0;
  };

 private:
  const std::size_t bytes_max_;
  std::size_t used_ = 0;
};

}  // namespace keelson::api
