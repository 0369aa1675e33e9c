#include "http/send_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson::http {

void SendQueue::add_message(std::string message, Compressed compressed) {
  add_prefix(message.size(), compressed);
  if (message.size() < OutputBuffer::kReferenceBytesMin) {
    add_copy(message);
  } else {
    add_owned(std::move(message));
  }
  segments_.back().message_ends = true;
}

void SendQueue::add_message(std::string_view head, std::span<const base::SharedBytes> parts) {
  std::uint64_t length = head.size();
  for (const auto& part : parts) length += part.size();
  add_prefix(length, Compressed::kNo);
  add_copy(head);
  for (const auto& part : parts) {
    if (part.size() < OutputBuffer::kReferenceBytesMin) {
      add_copy(part.view());
    } else {
      add_shared(part);
    }
  }
  segments_.back().message_ends = true;
}

void SendQueue::add_message(std::uint64_t length, std::unique_ptr<BodySource> source) {
  add_prefix(length, Compressed::kNo);
  if (length > 0) {
    segments_.push_back({.source = std::move(source), .left = length});
  }
  segments_.back().message_ends = true;
}

void SendQueue::add_prefix(std::uint64_t length, Compressed compressed) {
  CHECK_LE(length, kSendMessageBytesMax);
  const char prefix[5] = {static_cast<char>(compressed), static_cast<char>(length >> 24 & 0xFF),
                          static_cast<char>(length >> 16 & 0xFF),
                          static_cast<char>(length >> 8 & 0xFF), static_cast<char>(length & 0xFF)};
  add_copy({prefix, sizeof prefix});
}

SendQueue::Segment& SendQueue::open_segment() {
  bool behind_full = false;
  if (!empty()) {
    Segment& last = segments_.back();
    const bool copies = !last.source && last.shared.empty();
    if (copies && last.owned.size() < kSegmentBytes) return last;
    behind_full = copies;
  } else if (first_ > 0) {
    // Everything is spent: begin again in the first buffer.
    segments_.resize(1);
    segments_[0].owned.clear();
    segments_[0].shared = {};
    segments_[0].source.reset();
    segments_[0].left = 0;
    segments_[0].message_ends = false;
    first_ = 0;
    return segments_[0];
  }
  Segment& opened = segments_.emplace_back();
  // Behind a full one it will likely be filled too, and need not be copied while it grows.
  if (behind_full) opened.owned.reserve(kSegmentBytes + OutputBuffer::kReferenceBytesMin);
  return opened;
}

void SendQueue::add_copy(std::string_view bytes) {
  Segment& segment = open_segment();
  segment.owned.append(bytes);
  segment.left += bytes.size();
  segment.message_ends = false;
  bytes_ += bytes.size();
}

void SendQueue::add_owned(std::string bytes) {
  bytes_ += bytes.size();
  const std::uint64_t left = bytes.size();
  segments_.push_back({.shared = base::SharedBytes(std::move(bytes)), .left = left});
}

void SendQueue::add_shared(base::SharedBytes bytes) {
  bytes_ += bytes.size();
  const std::uint64_t left = bytes.size();
  segments_.push_back({.shared = std::move(bytes), .left = left});
}

SendQueue::Outcome SendQueue::take(std::size_t bytes_max, OutputBuffer& out) {
  std::size_t taken = 0;
  while (!empty() && taken < bytes_max) {
    if (segments_[first_].source) {
      if (const auto stopped = pull_front(bytes_max - taken, out, taken)) return *stopped;
    } else {
      taken += take_front(bytes_max - taken, out);
    }
    if (segments_[first_].left > 0) continue;
    inside_message_ = !segments_[first_].message_ends;
    pop_front();
  }
  return Outcome::kTaken;
}

std::uint64_t SendQueue::take_front(std::uint64_t bytes_max, OutputBuffer& out) {
  Segment& front = segments_[first_];
  const std::uint64_t count = std::min(bytes_max, front.left);
  if (!front.shared.empty()) {
    out.append(front.shared.slice(front.shared.size() - front.left, count));
  } else {
    out.append(std::string_view(front.owned).substr(front.owned.size() - front.left, count));
  }
  front.left -= count;
  bytes_ -= count;
  inside_message_ = true;
  return count;
}

// An outcome where take() must stop, nullopt where it goes on.
std::optional<SendQueue::Outcome> SendQueue::pull_front(std::size_t bytes_max, OutputBuffer& out,
                                                        std::size_t& taken) {
  Segment& front = segments_[first_];
  const std::size_t room = std::min<std::uint64_t>(bytes_max, front.left);
  const std::span<char> space(out.prepare(room), room);
  const BodySource::Pulled pulled = front.source->pull(space);
  if (const auto* count = std::get_if<std::size_t>(&pulled)) {
    CHECK(*count > 0);
    CHECK_LE(*count, room);
    out.commit(*count);
    front.left -= *count;
    taken += *count;
    inside_message_ = true;
    return std::nullopt;
  }
  out.commit(0);
  if (std::holds_alternative<BodySource::Wait>(pulled)) {
    return taken > 0 ? Outcome::kTaken : Outcome::kWait;
  }
  if (taken > 0) return Outcome::kTaken;  // what there is leaves first; the source is asked again
  failure_ = std::get<BodySource::Failed>(pulled).status;
  clear();
  return Outcome::kFailed;
}

void SendQueue::pop_front() {
  Segment& front = segments_[first_];
  front.source.reset();
  front.shared = {};
  if (first_ > 0 || front.owned.capacity() > kKeptCapacityMax) front.owned = std::string();
  ++first_;
  // A queue that is never quite empty must not keep its spent segments.
  if (first_ >= 64 && first_ * 2 >= segments_.size()) {
    segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void SendQueue::clear() {
  while (!empty()) pop_front();
  bytes_ = 0;
}

}  // namespace keelson::http
