#include "watch/event_list.h"

#include <algorithm>
#include <array>

#include "base/field_writer.h"
#include "base/varint.h"

namespace keelson::watch {
namespace {

constexpr std::uint32_t kEventsField = 11;
// Of an Event: type (1), kv (2), prev_kv (3).
constexpr std::uint64_t kDelete = 1;

// A deletion's KeyValue holds the key and the revision of the deletion. api.md 3.4
std::size_t deleted_kv_bytes(std::string_view key, std::int64_t main) {
  return base::bytes_field_size(1, key.size()) +
         base::varint_field_size(3, static_cast<std::uint64_t>(main));
}

// Of what is within the field `events`.
std::size_t body_bytes(const mvcc::Event& event, std::string_view previous) {
  const base::Record& record = event.record;
  const std::size_t kv = record.tombstone ? deleted_kv_bytes(record.key(), record.revision.main)
                                          : record.encoded.size();
  return base::varint_field_size(1, record.tombstone ? kDelete : 0) +
         base::message_field_size(2, kv) +
         (previous.empty() ? 0 : base::message_field_size(3, previous.size()));
}

std::size_t event_bytes(const mvcc::Event& event, std::string_view previous) {
  return base::message_field_size(kEventsField, body_bytes(event, previous));
}

// event_bytes() from `at` on; what comes behind them.
char* write_event(char* at, const mvcc::Event& event, std::string_view previous) {
  const base::Record& record = event.record;
  base::FieldWriter out(at);
  out.head(kEventsField, body_bytes(event, previous));
  if (record.tombstone) {
    const std::string_view key = record.key();
    out.number(1, kDelete);
    out.head(2, deleted_kv_bytes(key, record.revision.main));
    out.bytes(1, key);
    out.number(3, static_cast<std::uint64_t>(record.revision.main));
  } else {
    out.message(2, record.encoded.view());
  }
  out.bytes(3, previous);
  return out.at();
}

// What stands before a put's KeyValue, if that is the last of it.
std::string head_of_put(const base::Record& record) {
  std::array<char, 4 * base::kVarintMax> head;
  base::FieldWriter out(head.data());
  out.head(kEventsField, base::message_field_size(2, record.encoded.size()));
  out.head(2, record.encoded.size());
  return {head.data(), out.at()};
}

}  // namespace

base::SharedBytes encode_event(const mvcc::Event& event, std::string_view previous) {
  const std::size_t bytes = event_bytes(event, previous);
  auto owner = std::make_shared_for_overwrite<char[]>(bytes);
  const std::string_view view(owner.get(), bytes);
  CHECK_EQ(write_event(owner.get(), event, previous) - owner.get(),
           static_cast<std::ptrdiff_t>(bytes));
  return base::SharedBytes(std::move(owner), view);
}

std::size_t Payload::first_from(std::int64_t revision) const {
  const auto it = std::partition_point(
      pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.revision < revision; });
  return static_cast<std::size_t>(it - pieces.begin());
}

std::size_t EventList::add(const mvcc::Event& event) {
  const auto state = event.previous ? Previous::kUnknown : Previous::kNone;
  items_.push_back({.event = &event,
                    .may_share = !event.record.tombstone,
                    .state = state,
                    .previous = {},
                    .encoded = {}});
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

std::string_view EventList::previous_of(const Item& item, bool previous) {
  return previous && item.state == Previous::kKnown ? item.previous.view() : std::string_view();
}

const base::SharedBytes& EventList::encoded(Item& item, bool previous) {
  const std::string_view superseded = previous_of(item, previous);
  base::SharedBytes& bytes = item.encoded[superseded.empty() ? 0 : 1];
  if (bytes.empty()) bytes = encode_event(*item.event, superseded);
  return bytes;
}

Payload EventList::payload(std::span<const std::size_t> chosen, Filter filter, bool previous) {
  Payload out;
  std::vector<Item*> parts;
  for (const std::size_t at : chosen) {
    Item& item = items_[at];
    if (!filter.passes(*item.event)) continue;
    CHECK(!previous || item.state == Previous::kKnown || item.state == Previous::kNone);
    parts.push_back(&item);
  }
  out.pieces.reserve(parts.size());
  if (parts.size() == 1) {
    Item& item = *parts.front();
    const base::Record& record = item.event->record;
    if (item.may_share && previous_of(item, previous).empty()) {
      out.head = head_of_put(record);
      out.bytes = record.encoded;
    } else {
      out.bytes = encoded(item, previous);
    }
    out.pieces.push_back({.revision = record.revision.main, .end = out.bytes.size()});
  } else if (!parts.empty()) {
    write_together(parts, previous, out);
  }
  return out;
}

void EventList::write_together(std::span<Item* const> parts, bool previous, Payload& out) {
  std::size_t bytes = 0;
  for (const Item* part : parts) {
    bytes += event_bytes(*part->event, previous_of(*part, previous));
    out.pieces.push_back({.revision = part->event->record.revision.main, .end = bytes});
  }
  auto owner = std::make_shared_for_overwrite<char[]>(bytes);
  const std::string_view view(owner.get(), bytes);
  char* to = owner.get();
  for (const Item* part : parts) to = write_event(to, *part->event, previous_of(*part, previous));
  CHECK_EQ(to - owner.get(), static_cast<std::ptrdiff_t>(bytes));
  out.bytes = base::SharedBytes(std::move(owner), view);
}

}  // namespace keelson::watch
