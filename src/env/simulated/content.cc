#include "env/simulated/content.h"

#include <algorithm>

namespace keelson::env::simulated {

void Content::resize(std::uint64_t size) {
  if (size < size_) {
    pages_.erase(pages_.lower_bound((size + kPageBytes - 1) / kPageBytes), pages_.end());
    const auto last = pages_.find(size / kPageBytes);
    if (last != pages_.end()) {
      std::fill(last->second.begin() + static_cast<std::ptrdiff_t>(size % kPageBytes),
                last->second.end(), '\0');
    }
  }
  size_ = size;
}

void Content::write(std::uint64_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  size_ = std::max<std::uint64_t>(size_, offset + bytes.size());
  while (!bytes.empty()) {
    const std::uint64_t number = offset / kPageBytes;
    const std::size_t start = offset % kPageBytes;
    const auto piece = bytes.substr(0, kPageBytes - start);
    auto page = pages_.find(number);
    const bool zeros = std::all_of(piece.begin(), piece.end(), [](char c) { return c == '\0'; });
    if (page == pages_.end() && !zeros) {
      page = pages_.emplace(number, std::string(kPageBytes, '\0')).first;
    }
    if (page != pages_.end()) page->second.replace(start, piece.size(), piece);
    offset += piece.size();
    bytes.remove_prefix(piece.size());
  }
}

std::size_t Content::read(std::uint64_t offset, std::span<char> out) const {
  if (offset >= size_) return 0;
  out = out.first(std::min<std::uint64_t>(out.size(), size_ - offset));
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t number = (offset + done) / kPageBytes;
    const std::size_t start = (offset + done) % kPageBytes;
    const std::size_t length = std::min(kPageBytes - start, out.size() - done);
    const auto page = pages_.find(number);
    if (page == pages_.end()) {
      std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(done), length, '\0');
    } else {
      page->second.copy(out.data() + done, length, start);
    }
    done += length;
  }
  return out.size();
}

std::string Content::all() const {
  std::string out(size_, '\0');
  read(0, out);
  return out;
}

}  // namespace keelson::env::simulated
