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
    add_shared(base::SharedBytes(std::move(message)));
  }
  parts_.back().message_ends = true;
}

void SendQueue::add_message(std::string_view head, std::span<const base::SharedBytes> parts) {
  std::uint64_t length = head.size();
  for (const auto& part : parts) length += part.size();
  add_prefix(length, Compressed::kNo);
  add_copy(head);
  for (const auto& part : parts) {
    if (part.size() < kSharedBytesMin) {
      add_copy(part.view());
    } else {
      add_shared(part);
    }
  }
  parts_.back().message_ends = true;
}

void SendQueue::add_message(std::uint64_t length, std::unique_ptr<BodySource> source) {
  add_prefix(length, Compressed::kNo);
  Part& part = parts_.back();
  if (length > 0) {
    part.source = std::move(source);
    part.left = length;
  }
  part.message_ends = true;
}

void SendQueue::add_prefix(std::uint64_t length, Compressed compressed) {
  CHECK_LE(length, kSendMessageBytesMax);
  const char prefix[5] = {static_cast<char>(compressed), static_cast<char>(length >> 24 & 0xFF),
                          static_cast<char>(length >> 16 & 0xFF),
                          static_cast<char>(length >> 8 & 0xFF), static_cast<char>(length & 0xFF)};
  add_copy({prefix, sizeof prefix});
}

// The last part, if something may follow what it has; else a new one.
SendQueue::Part& SendQueue::open_part() {
  if (empty() || parts_.back().left > 0) parts_.emplace_back();
  parts_.back().message_ends = false;
  return parts_.back();
}

void SendQueue::add_copy(std::string_view bytes) {
  open_part().copied += bytes.size();
  copied_.append(bytes);
  bytes_ += bytes.size();
}

void SendQueue::add_shared(base::SharedBytes bytes) {
  Part& part = open_part();
  part.left = bytes.size();
  part.shared = std::move(bytes);
  bytes_ += part.left;
}

SendQueue::Outcome SendQueue::take(std::size_t bytes_max, OutputBuffer& out) {
  std::size_t taken = 0;
  while (!empty() && taken < bytes_max) {
    Part& front = parts_[first_];
    if (front.copied > 0) {
      taken += take_copied(front, bytes_max - taken, out);
    } else if (front.source) {
      if (const auto stopped = pull(front, bytes_max - taken, out, taken)) return *stopped;
    } else {
      taken += take_shared(front, bytes_max - taken, out);
    }
    if (front.copied > 0 || front.left > 0) {
      inside_message_ = true;
      continue;
    }
    inside_message_ = !front.message_ends;
    pop_front();
  }
  return Outcome::kTaken;
}

std::uint64_t SendQueue::take_copied(Part& part, std::uint64_t bytes_max, OutputBuffer& out) {
  const std::uint64_t count = std::min(bytes_max, part.copied);
  out.append(std::string_view(copied_).substr(copied_at_, count));
  copied_at_ += count;
  part.copied -= count;
  bytes_ -= count;
  // A queue that is never quite empty must not keep what was taken.
  if (copied_at_ >= kTakenBytesMax && copied_at_ * 2 >= copied_.size()) {
    copied_.erase(0, std::exchange(copied_at_, 0));
  }
  return count;
}

std::uint64_t SendQueue::take_shared(Part& part, std::uint64_t bytes_max, OutputBuffer& out) {
  const std::uint64_t count = std::min(bytes_max, part.left);
  out.append(part.shared, part.shared.size() - part.left, count);
  part.left -= count;
  bytes_ -= count;
  return count;
}

// An outcome where take() must stop, nullopt where it goes on.
std::optional<SendQueue::Outcome> SendQueue::pull(Part& part, std::size_t bytes_max,
                                                  OutputBuffer& out, std::size_t& taken) {
  const std::size_t room = std::min<std::uint64_t>(bytes_max, part.left);
  const std::span<char> space(out.prepare(room), room);
  const BodySource::Pulled pulled = part.source->pull(space);
  if (const auto* count = std::get_if<std::size_t>(&pulled)) {
    CHECK(*count > 0);
    CHECK_LE(*count, room);
    out.commit(*count);
    part.left -= *count;
    taken += *count;
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
  parts_[first_++] = {};
  if (empty()) {
    const bool keeps_parts = parts_.capacity() <= kKeptBytesMax / sizeof(Part);
    keeps_parts ? parts_.clear() : std::vector<Part>().swap(parts_);
    copied_.capacity() <= kKeptBytesMax ? copied_.clear() : std::string().swap(copied_);
    first_ = copied_at_ = 0;
  } else if (first_ >= 64 && first_ * 2 >= parts_.size()) {
    parts_.erase(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void SendQueue::clear() {
  while (!empty()) pop_front();
  bytes_ = 0;
}

}  // namespace keelson::http
