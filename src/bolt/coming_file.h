// ComingFile: a bbolt file that comes front to back and is walked meanwhile.
//
//   come(piece) -> a walk, which says what it takes -> come(piece) ... -> end() -> the rest of the
//   walk
//
// The two pieces that came last are in memory. When another one comes, what was not taken of the
// older goes to the disk: a page is asked for once, so what a walk has taken is not needed again. A
// file whose pages lie in the order of the walk hardly touches the disk: a page that ends in the
// next piece is still here when that comes. Of any other file there is all that is needed. So the
// file on the disk has holes, and is of use to nobody else.
//
// A damaged file may name a page twice. Where that was taken, zeros are read, which are no page.
//
// Threads: one lane at a time, one that may block (reads and writes).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "bolt/reader.h"
#include "bolt/source.h"
#include "env/file.h"

namespace keelson::bolt {

class ComingFile final : public Source, public PageListener {
 public:
  // `file` is empty.
  explicit ComingFile(std::unique_ptr<env::File> file) : file_(std::move(file)) {}

  // The next bytes. An error if those before could not be written.
  base::Result<> come(base::SharedBytes piece);
  // There is no more to come.
  void end() { is_whole_ = true; }

  base::Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override;
  base::Result<std::uint64_t> size() const override { return newest_.end(); }
  const std::string& path() const override { return file_->path(); }
  bool has(std::uint64_t bytes) const override { return is_whole_ || bytes <= newest_.end(); }
  bool is_whole() const override { return is_whole_; }

  // A page has been taken: by `page_bytes`, which the file itself says.
  void set_page_bytes(std::uint64_t page_bytes) { page_bytes_ = page_bytes; }
  base::Result<> on_page(std::uint64_t id, std::uint64_t pages) override;

 private:
  // Parts of the file.
  struct Range {
    std::uint64_t begin = 0, end = 0;
  };
  struct Piece {
    std::uint64_t begin = 0;
    base::SharedBytes bytes;
    std::uint64_t end() const { return begin + bytes.size(); }
  };
  // What was not taken of the older piece; that is forgotten.
  base::Result<> write_rest();
  base::Result<> write(Range range);

  const std::unique_ptr<env::File> file_;
  Piece older_, newest_;      // one behind the other
  std::vector<Range> taken_;  // of both
  std::uint64_t page_bytes_ = 0;
  bool is_whole_ = false;
};

}  // namespace keelson::bolt
