// The words of watching, and what a stream is told. api.md 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace keelson::watch {

using WatchId = std::int64_t;
// Of responses that speak of no watcher, or of all.
inline constexpr WatchId kNoWatchId = -1;

struct CreateRequest {
  std::string key;                  // empty: the byte 0, the smallest key
  std::string range_end;            // as mvcc::KeyRange::of takes it
  std::int64_t start_revision = 0;  // 0: from now on
  WatchId id = 0;                   // 0: the stream chooses
  bool prev_kv = false;
  bool progress_notify = false;
  bool fragment = false;
  bool no_put = false;
  bool no_delete = false;
};

// Why a watcher was not made, or ended without being asked to.
enum class Refusal {
  kCompacted,    // a start revision below zero
  kEmptyRange,   // the end is not above the key
  kDuplicateId,  // the id chosen by the client is taken
  kTooMany,      // no more watchers on this lane
  kUnreadable,   // a stored record that it must be told of cannot be read
};

// One WatchResponse, but for the header's cluster, member and term.
struct Response {
  enum class Kind {
    kCreated,
    kRefused,    // created and canceled at once: `refusal`, watch id -1
    kEvents,     // `events`, and whether they are a `fragment` that is not the last
    kProgress,   // everything up to `revision` was said
    kCanceled,   // as the client asked
    kCompacted,  // canceled: history it needs is gone up to `compact_revision`
    kFailed,     // canceled: `refusal`
  };
  Kind kind;
  WatchId id = kNoWatchId;
  std::int64_t revision = 0;  // of the header
  std::int64_t compact_revision = 0;
  Refusal refusal = Refusal::kCompacted;
  bool fragment = false;
  // Field `events` (11) of the response, repeated, ready to be sent: one after the other. The first
  // is borrowed for the call.
  std::string_view events_head;
  base::SharedBytes events;
};

// Where the responses of one stream go. Implemented above, and by tests.
class Outlet {
 public:
  virtual ~Outlet() = default;
  // Takes the response over to be sent after those before. Never calls back.
  virtual void deliver(const Response& response) = 0;
  // More waits to be sent than should: nothing is delivered but what answers a request.
  virtual bool is_full() const = 0;
  // It has drained far enough to go on after it was full.
  virtual bool has_room() const = 0;
  // What an events response has beside its events, in bytes.
  virtual std::size_t overhead_bytes(WatchId id, std::int64_t revision) const = 0;
};

}  // namespace keelson::watch
