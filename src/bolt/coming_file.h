// ComingFile: a bbolt file that comes front to back and is walked meanwhile.
//
//   come(piece) -> a walk, which says what it takes -> come(piece) ... -> end() -> the rest of the
//   walk
//
// The piece that came last is in memory. When the next one comes, what was not taken of it goes to
// the disk: a page is asked for once, so what a walk has taken is not needed again. A file whose
// pages lie in the order of the walk hardly touches the disk; of any other there is all that is
// needed. So the file on the disk has holes, and is of use to nobody else.
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
  base::Result<std::uint64_t> size() const override { return piece_at_ + piece_.size(); }
  const std::string& path() const override { return file_->path(); }
  bool has(std::uint64_t bytes) const override {
    return is_whole_ || bytes <= piece_at_ + piece_.size();
  }
  bool is_whole() const override { return is_whole_; }

  // A page has been taken: by `page_bytes`, which the file itself says.
  void set_page_bytes(std::uint64_t page_bytes) { page_bytes_ = page_bytes; }
  base::Result<> on_page(std::uint64_t id, std::uint64_t pages) override;

 private:
  struct Range {
    std::uint64_t begin = 0, end = 0;
  };
  base::Result<> write_rest();
  base::Result<> write(Range range);

  const std::unique_ptr<env::File> file_;
  std::uint64_t piece_at_ = 0;  // where the piece lies in the file
  base::SharedBytes piece_;
  std::vector<Range> taken_;  // of the piece, as parts of the file
  std::uint64_t page_bytes_ = 0;
  bool is_whole_ = false;
};

}  // namespace keelson::bolt
