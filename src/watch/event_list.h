// EventList: events on their way to watchers. One that goes alone is turned into bytes once per
// kind, shared by all who get it; several together are written behind each other, once for each
// Payload. A put that goes alone is not even copied: all but its first bytes are those of its
// record.
//
// There are two kinds: with the value an event superseded, for watchers with prev_kv, and without.
// A Payload is what the watchers of one key range get of a list: chosen events, one after the
// other, as they stand in a WatchResponse. For one event it is the event's own bytes.
//
// Touched by one lane; the bytes it gives are immutable and may go to any.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/storage.h"
#include "mvcc/types.h"

namespace keelson::watch {

// Events of a WatchResponse, encoded, and where each ends.
struct Payload {
  struct Piece {
    std::int64_t revision;  // main
    std::size_t end;        // in `bytes`
  };
  std::string head;  // before `bytes`, where there is one piece only; short
  base::SharedBytes bytes;
  std::vector<Piece> pieces;  // ascending

  bool empty() const { return pieces.empty(); }
  std::size_t begin_of(std::size_t piece) const { return piece == 0 ? 0 : pieces[piece - 1].end; }
  // The pieces in [from, to).
  base::SharedBytes slice(std::size_t from, std::size_t to) const {
    return bytes.slice(begin_of(from), begin_of(to) - begin_of(from));
  }
  // The first piece of `revision` or later.
  std::size_t first_from(std::int64_t revision) const;
};

class EventList {
 public:
  // The superseded value of an event: not looked for, there, none (a creation, or compacted), or
  // not in memory.
  enum class Previous : std::uint8_t { kUnknown, kKnown, kNone, kCold };

  // `event` is borrowed and outlives the list; the bytes of a put keep no more alive than
  // themselves. Its place.
  std::size_t add(const mvcc::Event& event);
  // `event` becomes the list's own.
  std::size_t adopt(mvcc::Event event);
  // With the superseded value read already: empty for none. What was read may hold more memory than
  // its own, and watchers that are slow hold what they are sent: it is copied.
  void add(const mvcc::Event& event, base::SharedBytes previous);
  void clear() {
    items_.clear();
    adopted_.clear();
  }

  std::size_t size() const { return items_.size(); }
  const mvcc::Event& event(std::size_t at) const { return *items_[at].event; }
  std::int64_t revision(std::size_t at) const { return items_[at].event->record.revision.main; }

  // Looks for what the events at `chosen` superseded, without blocking; false if some of it is
  // cold. Nothing below `compact_revision` is looked for: it is gone for readers, whether it still
  // lies there or not. What cannot be read counts as gone, and in `unreadable`.
  bool find_previous(std::span<const std::size_t> chosen, const base::RevisionReader& reader,
                     std::int64_t compact_revision, std::uint64_t& unreadable);

  struct Filter {
    bool no_put = false;
    bool no_delete = false;
    bool passes(const mvcc::Event& event) const {
      return !(event.record.tombstone ? no_delete : no_put);
    }
  };
  // The events at `chosen` that pass. With `previous`, find_previous() has been true for them.
  Payload payload(std::span<const std::size_t> chosen, Filter filter, bool previous);

 private:
  struct Item {
    const mvcc::Event* event;
    bool may_share = false;  // the bytes of its record, a put's
    Previous state = Previous::kUnknown;
    base::SharedBytes previous;
    base::SharedBytes encoded[2];  // by kind: without, with the superseded value
  };
  // Empty: none, or not wanted.
  static std::string_view previous_of(const Item& item, bool previous);
  const base::SharedBytes& encoded(Item& item, bool previous);
  static void write_together(std::span<Item* const> parts, bool previous, Payload& out);

  std::vector<Item> items_;
  std::deque<mvcc::Event> adopted_;
};

// The event as one field `events` of a WatchResponse; `previous` is an encoded KeyValue or empty.
base::SharedBytes encode_event(const mvcc::Event& event, std::string_view previous);

}  // namespace keelson::watch
