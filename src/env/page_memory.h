// PageMemory: room that begins at a page, for what is written around the page cache
// (File::bypass_cache).
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/check.h"
#include "env/file.h"

namespace keelson::env {

class PageMemory {
 public:
  // Whole pages.
  explicit PageMemory(std::size_t bytes)
      : memory_(static_cast<char*>(std::aligned_alloc(File::kPageBytes, bytes))) {
    CHECK_EQ(bytes % File::kPageBytes, 0u);
    if (memory_ == nullptr) throw std::bad_alloc();
  }

  char* data() { return memory_.get(); }
  const char* data() const { return memory_.get(); }

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> memory_;
};

}  // namespace keelson::env
