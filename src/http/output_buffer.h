// OutputBuffer: what one turn of a connection gives to its socket, gathered into one write.
//
// Small bytes are copied one after the other; large shared ones are referenced. A DATA frame is
// staged: the place of its header is kept free, its payload is laid down behind it, and the header
// is filled in when nghttp2 has made it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "env/stream.h"

namespace keelson::http {

class OutputBuffer {
 public:
  static constexpr std::size_t kFrameHeaderBytes = 9;
  // From here on a reference (one more piece for the kernel, one reference count) is cheaper than a
  // copy.
  static constexpr std::size_t kReferenceBytesMin = 4096;

  OutputBuffer() = default;
  // It keeps up to so much room from turn to turn, where the socket takes all at once: warm memory
  // that many connections write through one after the other.
  explicit OutputBuffer(std::size_t kept_bytes_max) : kept_bytes_max_(kept_bytes_max) {}

  // So much will be appended or a little more: one allocation instead of growing.
  void reserve(std::size_t bytes) { tail_.reserve(tail_.size() + bytes); }
  void append(std::string_view bytes) {
    if (tail_.empty()) tail_.reserve(expected_);
    tail_.append(bytes);
    size_ += bytes.size();
  }
  void append(const base::SharedBytes& bytes) { append(bytes, 0, bytes.size()); }
  // Of them `count`, from `offset` on.
  void append(const base::SharedBytes& bytes, std::size_t offset, std::size_t count) {
    if (count < kReferenceBytesMin) return append(bytes.view().substr(offset, count));
    seal_tail();
    pieces_.push_back({{}, bytes.slice(offset, count)});
    size_ += count;
  }
  // Room for up to `bytes` at the end, to be written in place; commit() says how many were.
  char* prepare(std::size_t bytes) {
    prepared_at_ = tail_.size();
    tail_.resize_and_overwrite(tail_.size() + bytes, [](char*, std::size_t size) { return size; });
    return tail_.data() + prepared_at_;
  }
  void commit(std::size_t bytes) {
    CHECK_LE(prepared_at_ + bytes, tail_.size());
    tail_.resize(prepared_at_ + bytes);
    size_ += bytes;
  }

  void begin_frame() {
    if (tail_.empty()) tail_.reserve(expected_);
    header_piece_ = pieces_.size();
    header_at_ = tail_.size();
    tail_.append(kFrameHeaderBytes, '\0');
    size_ += kFrameHeaderBytes;
    frame_from_ = size_;
  }
  std::size_t frame_bytes() const { return size_ - frame_from_; }
  void end_frame(const unsigned char* header) {
    std::string& piece = header_piece_ < pieces_.size() ? pieces_[header_piece_].owned : tail_;
    CHECK_LE(header_at_ + kFrameHeaderBytes, piece.size());
    std::memcpy(piece.data() + header_at_, header, kFrameHeaderBytes);
  }
  // Takes an empty frame back.
  void cancel_frame() {
    CHECK_EQ(frame_bytes(), 0u);
    tail_.resize(tail_.size() - kFrameHeaderBytes);
    size_ -= kFrameHeaderBytes;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Hands everything over and is empty again.
  void write_to(env::Stream& stream) {
    expected_ = std::min(std::max(tail_.size(), expected_ - expected_ / 8), kExpectedMax);
    size_ = 0;
    if (pieces_.empty()) {
      stream.write(std::move(tail_));
    } else {
      seal_tail();
      std::vector<base::SharedBytes> parts;
      parts.reserve(pieces_.size());
      for (auto& piece : pieces_) {
        parts.push_back(piece.shared.empty() ? base::SharedBytes(std::move(piece.owned))
                                             : std::move(piece.shared));
      }
      pieces_.clear();
      stream.write(std::move(parts));
    }
    tail_.clear();
    if (tail_.capacity() > kept_bytes_max_) tail_ = std::string();
  }

 private:
  struct Piece {
    std::string owned;  // or
    base::SharedBytes shared;
  };

  void seal_tail() {
    if (tail_.empty()) return;
    pieces_.push_back({std::move(tail_), {}});
    tail_.clear();
  }

  std::vector<Piece> pieces_;
  // A turn is much like those before it: room for it is made once, when its first bytes come, and
  // nothing more than is to be kept is held while there are none.
  static constexpr std::size_t kExpectedMax = std::size_t{64} << 10;

  const std::size_t kept_bytes_max_ = 0;
  std::string tail_;  // comes after pieces_
  std::size_t expected_ = 0;
  std::size_t size_ = 0;
  std::size_t prepared_at_ = 0;
  std::size_t header_piece_ = 0;  // index the tail had, or will have, when it held the header
  std::size_t header_at_ = 0;
  std::size_t frame_from_ = 0;
};

}  // namespace keelson::http
