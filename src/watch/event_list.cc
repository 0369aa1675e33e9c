#include "watch/event_list.h"

#include <algorithm>
#include <cstring>

#include "base/varint.h"

namespace keelson::watch {
namespace {

constexpr std::uint32_t kEventsField = 11;
// Of an Event: type (1), kv (2), prev_kv (3).
constexpr std::uint64_t kDelete = 1;

// Writes into a buffer of exactly the right size.
class Writer {
 public:
  explicit Writer(std::size_t bytes)
      : owner_(std::make_shared_for_overwrite<char[]>(bytes)), at_(owner_.get()), size_(bytes) {}

  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<char>(value | 0x80);
    *at_++ = static_cast<char>(value);
  }
  void bytes(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void message(std::uint32_t field, std::string_view body) {
    varint(base::bytes_tag(field));
    varint(body.size());
    bytes(body);
  }
  base::SharedBytes take() {
    CHECK_EQ(static_cast<std::size_t>(at_ - owner_.get()), size_);
    const std::string_view view(owner_.get(), size_);
    return base::SharedBytes(std::move(owner_), view);
  }

 private:
  std::shared_ptr<char[]> owner_;
  char* at_;
  const std::size_t size_;
};

// A deletion's KeyValue holds the key and the revision of the deletion. api.md 3.4
std::string deleted_kv(const base::Record& record) {
  std::string kv;
  base::put_bytes_field(kv, 1, record.key());
  base::put_varint_field(kv, 3, static_cast<std::uint64_t>(record.revision.main));
  return kv;
}

}  // namespace

base::SharedBytes encode_event(const mvcc::Event& event, std::string_view previous) {
  const bool deleted = event.record.tombstone;
  const std::string rebuilt = deleted ? deleted_kv(event.record) : std::string();
  const std::string_view kv = deleted ? std::string_view(rebuilt) : event.record.encoded.view();
  std::size_t body =
      base::varint_field_size(1, deleted ? kDelete : 0) + base::message_field_size(2, kv.size());
  if (!previous.empty()) body += base::message_field_size(3, previous.size());
  Writer out(base::message_field_size(kEventsField, body));
  out.varint(base::bytes_tag(kEventsField));
  out.varint(body);
  if (deleted) {
    out.varint(base::varint_tag(1));
    out.varint(kDelete);
  }
  out.message(2, kv);
  if (!previous.empty()) out.message(3, previous);
  return out.take();
}

std::size_t Payload::first_from(std::int64_t revision) const {
  const auto it = std::partition_point(
      pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.revision < revision; });
  return static_cast<std::size_t>(it - pieces.begin());
}

std::size_t EventList::add(const mvcc::Event& event) {
  const auto state = event.previous ? Previous::kUnknown : Previous::kNone;
  items_.push_back({.event = &event, .state = state, .previous = {}, .encoded = {}});
  return items_.size() - 1;
}

std::size_t EventList::adopt(mvcc::Event event) {
  adopted_.push_back(std::move(event));
  return add(adopted_.back());
}

void EventList::add(const mvcc::Event& event, base::SharedBytes previous) {
  const auto state = previous.empty() ? Previous::kNone : Previous::kKnown;
  items_.push_back(
      {.event = &event, .state = state, .previous = std::move(previous), .encoded = {}});
}

bool EventList::find_previous(std::span<const std::size_t> chosen,
                              const base::RevisionReader& reader, std::int64_t compact_revision,
                              std::uint64_t& unreadable) {
  std::vector<std::size_t> wanted;
  std::vector<base::Revision> revisions;
  bool cold = false;
  for (const std::size_t at : chosen) {
    Item& item = items_[at];
    cold = cold || item.state == Previous::kCold;
    if (item.state != Previous::kUnknown) continue;
    if (item.event->record.revision.main - 1 < compact_revision) {
      item.state = Previous::kNone;
      continue;
    }
    wanted.push_back(at);
    revisions.push_back(*item.event->previous);
  }
  if (wanted.empty()) return !cold;
  std::vector<base::ReadResult> results(revisions.size());
  reader.try_read(revisions, results);
  for (std::size_t i = 0; i < wanted.size(); i++) {
    Item& item = items_[wanted[i]];
    switch (results[i].state) {
      case base::ReadResult::State::kBytes:
        item.state = Previous::kKnown;
        item.previous = std::move(results[i].bytes);
        break;
      case base::ReadResult::State::kCold:
        item.state = Previous::kCold;
        cold = true;
        break;
      case base::ReadResult::State::kError:
        item.state = Previous::kNone;
        unreadable++;
        break;
    }
  }
  return !cold;
}

const base::SharedBytes& EventList::encoded(Item& item, bool previous) {
  const bool has_previous = previous && item.state == Previous::kKnown;
  base::SharedBytes& bytes = item.encoded[has_previous ? 1 : 0];
  if (bytes.empty()) {
    bytes = encode_event(*item.event, has_previous ? item.previous.view() : std::string_view());
  }
  return bytes;
}

Payload EventList::payload(std::span<const std::size_t> chosen, Filter filter, bool previous) {
  Payload out;
  std::vector<const base::SharedBytes*> parts;
  std::size_t bytes = 0;
  for (const std::size_t at : chosen) {
    Item& item = items_[at];
    if (!filter.passes(*item.event)) continue;
    CHECK(!previous || item.state == Previous::kKnown || item.state == Previous::kNone);
    parts.push_back(&encoded(item, previous));
    bytes += parts.back()->size();
    out.pieces.push_back({.revision = revision(at), .end = bytes});
  }
  if (parts.size() == 1) {
    out.bytes = *parts.front();
  } else if (!parts.empty()) {
    std::string all;
    all.reserve(bytes);
    for (const auto* part : parts) all.append(part->view());
    out.bytes = base::SharedBytes(std::move(all));
  }
  return out;
}

}  // namespace keelson::watch
