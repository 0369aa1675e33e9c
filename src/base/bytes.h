// Bytes: owned, borrowed and shared. Owned is std::string, borrowed std::string_view (for the
// call).
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace keelson::base {

// An immutable slice of a buffer that lives as long as any slice of it. Made for payload that is
// fanned out (event bytes, stored records, log entries); a copy costs one reference count.
class SharedBytes {
 public:
  SharedBytes() = default;
  // Takes the string over; one allocation for the owner.
  explicit SharedBytes(std::string bytes) {
    auto owner = std::make_shared<const std::string>(std::move(bytes));
    view_ = *owner;
    owner_ = std::move(owner);
  }
  // A copy in one allocation.
  static SharedBytes copy_of(std::string_view bytes) {
    if (bytes.empty()) return {};
    auto owner = std::make_shared_for_overwrite<char[]>(bytes.size());
    std::memcpy(owner.get(), bytes.data(), bytes.size());
    const std::string_view view(owner.get(), bytes.size());
    return SharedBytes(std::move(owner), view);
  }
  // A slice of what `owner` keeps alive.
  SharedBytes(std::shared_ptr<const void> owner, std::string_view view)
      : owner_(std::move(owner)), view_(view) {}

  std::string_view view() const { return view_; }
  operator std::string_view() const { return view_; }  // NOLINT: reads as a view everywhere
  const char* data() const { return view_.data(); }
  std::size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }

  SharedBytes slice(std::size_t offset, std::size_t length) const {
    return SharedBytes(owner_, view_.substr(offset, length));
  }

 private:
  std::shared_ptr<const void> owner_;
  std::string_view view_;
};

}  // namespace keelson::base
