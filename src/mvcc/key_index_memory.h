// Memory of the key index: what is allocated, and when what an older root may still reach is freed.
//
// The writer works on a running batch. Publishing ends it: its number names the root, and the next
// batch begins. An object made in batch b and discarded in batch r can be reached from the roots b
// .. r-1 only, so it is freed as soon as none of these is held:
//
//   held roots        3         7     9
//   object made 4, discarded 7     -> nothing held in 4..6, freed at once
//   object made 4, discarded 9     -> waits for 7; when 7 is released nothing is left in 4..8,
//   freed object made 2, discarded 9     -> waits for 7, then for 3
//
// Each discarded object hangs on the newest held root that may reach it. "Free what is older than
// the oldest holder" would be simpler, but one slow reader would then keep everything discarded
// since.
//
// Invariants
//   M1  An object of the running batch is reached by no published root; it may be edited in place
//   and is
//       freed at once.
//   M2  An object waits for a held root in [its birth, its end), the newest of them.
// One thread: the writer's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace keelson::mvcc::internal {

// Head of everything the index allocates. Read by the writer only.
struct Object {
  std::uint64_t birth;  // the batch it was made in
};

class Memory {
 public:
  Memory() = default;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Room for an object and `bytes` in all; its birth is set, the rest is not.
  void* allocate(std::size_t bytes);
  // True if no published root reaches it.
  bool is_new(const Object* object) const { return object->birth == batch_; }
  // The newest state reaches it no longer. Freed at once, or when no held root may reach it.
  void discard(const Object* object, std::size_t bytes);
  // Frees without asking, for the end of the whole index.
  void destroy(const Object* object, std::size_t bytes);

  // Ends the running batch and holds its root; returns its number. Frees a part of what is due:
  // more than was discarded meanwhile, so that what is due does not pile up.
  std::uint64_t publish();
  void release(std::uint64_t batch);
  // Frees a part of what is due; true if more is.
  bool free_due();

  std::uint64_t live_bytes() const { return live_bytes_; }
  std::uint64_t retired_bytes() const { return retired_bytes_; }

 private:
  struct Retired {
    const Object* object;
    std::uint64_t end;  // the batch it was discarded in
    std::size_t bytes;
  };
  using List = std::vector<Retired>;

  void place(const Retired& retired);
  void drain(std::size_t limit);

  std::uint64_t batch_ = 1;
  std::map<std::uint64_t, List> held_;  // by batch: what waits for its release
  std::vector<List> due_;               // waited for roots now released; to be placed again
  std::size_t discarded_ = 0;           // in the running batch
  std::uint64_t live_bytes_ = 0;
  std::uint64_t retired_bytes_ = 0;
};

}  // namespace keelson::mvcc::internal
