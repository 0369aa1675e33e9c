#include "mvcc/key_index_memory.h"

#include <iterator>
#include <new>
#include <utility>

#include "base/check.h"

namespace keelson::mvcc::internal {
namespace {

constexpr std::size_t kFreesPerCall = 128;  // some 10 us

void free_object(const Object* object, std::size_t bytes) {
  ::operator delete(const_cast<Object*>(object), bytes);
}

}  // namespace

Memory::~Memory() {
  for (const auto& [batch, list] : held_) {
    for (const Retired& retired : list) free_object(retired.object, retired.bytes);
  }
  for (const List& list : due_) {
    for (const Retired& retired : list) free_object(retired.object, retired.bytes);
  }
}

void* Memory::allocate(std::size_t bytes) {
  auto* object = static_cast<Object*>(::operator new(bytes));
  object->birth = batch_;
  live_bytes_ += bytes;
  return object;
}

void Memory::discard(const Object* object, std::size_t bytes) {
  live_bytes_ -= bytes;
  if (is_new(object)) return free_object(object, bytes);
  discarded_++;
  retired_bytes_ += bytes;
  place({object, batch_, bytes});
}

void Memory::destroy(const Object* object, std::size_t bytes) {
  live_bytes_ -= bytes;
  free_object(object, bytes);
}

void Memory::place(const Retired& retired) {
  const auto after = held_.lower_bound(retired.end);
  if (after != held_.begin()) {
    auto& [batch, waiting] = *std::prev(after);
    if (batch >= retired.object->birth) return waiting.push_back(retired);
  }
  retired_bytes_ -= retired.bytes;
  free_object(retired.object, retired.bytes);
}

void Memory::drain(std::size_t limit) {
  for (; limit > 0 && !due_.empty(); limit--) {
    List& list = due_.back();
    const Retired retired = list.back();
    list.pop_back();
    if (list.empty()) due_.pop_back();
    place(retired);
  }
}

std::uint64_t Memory::publish() {
  drain(kFreesPerCall + 2 * std::exchange(discarded_, 0));
  held_.emplace_hint(held_.end(), batch_, List());
  return batch_++;
}

void Memory::release(std::uint64_t batch) {
  auto node = held_.extract(batch);
  CHECK(!node.empty());
  if (!node.mapped().empty()) due_.push_back(std::move(node.mapped()));
  drain(kFreesPerCall);
}

bool Memory::free_due() {
  drain(kFreesPerCall);
  return !due_.empty();
}

}  // namespace keelson::mvcc::internal
