// Link: what the connections to one remote member have in common: who it is, where it is, whether
// it can be reached, what is counted of it. Internal to peer/.
//
//   Inactive --activate (something got through)--> Active
//   Active   --deactivate (something did not, and no stream of its brings anything)--> Inactive
//
// A stream that is read is the best sign of life, because it brings something every few seconds.
// (In etcd any failure makes a peer inactive, until the next stream or post: a snapshot whose
// source fails, for as long as the streams last.)
//
// Belongs to the transport's lane. A Link outlives the parts that hold it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "env/lane.h"
#include "http/http1.h"
#include "membership/urls.h"
#include "peer/connector.h"
#include "peer/dial.h"
#include "peer/handler.h"
#include "peer/stats.h"
#include "peer/tables.h"
#include "peer/transport.h"
#include "raft/types.h"

namespace keelson::peer {

// What became of a message that came.
enum class Verdict {
  kTaken,
  kIgnored,   // of a kind no peer sends: nobody is told
  kRemoved,   // its sender was removed
  kMismatch,  // it is for somebody else
  kFull,
};
std::string_view describe(Verdict verdict);

// What all parts of a transport share.
struct Context {
  Context(env::Lane& the_lane, Connector& the_connector, Options the_options, Handler& the_handler,
          Observer* the_observer);

  // Checks a message that came, as Handler promises, and hands it over.
  Verdict deliver(raft::Message message);
  // The same checks alone.
  Verdict judge(const raft::Message& message) const;
  base::TimePoint now() const { return lane.clock().now(); }

  env::Lane& lane;
  Connector& connector;
  const Options options;
  const http::Headers headers;  // of every request
  Handler& handler;
  Observer* const observer;  // or nullptr
  StatsTable stats;
  ActiveTable active;
  bool stopped = false;
};

// The URLs of a member: one is in use until it fails, then the next.
class UrlPicker {
 public:
  explicit UrlPicker(std::vector<membership::Url> urls) : urls_(std::move(urls)) {}
  void update(std::vector<membership::Url> urls) {
    urls_ = std::move(urls);
    picked_ = 0;
  }
  bool empty() const { return urls_.empty(); }
  const membership::Url& pick() const { return urls_[picked_]; }
  // Nothing if another is in use already.
  void unreachable(const membership::Url& url) {
    if (!urls_.empty() && url == urls_[picked_]) picked_ = (picked_ + 1) % urls_.size();
  }

 private:
  std::vector<membership::Url> urls_;
  std::size_t picked_ = 0;
};

// Those that can be parsed; the rest is logged.
std::vector<membership::Url> usable_urls(raft::NodeId id, const std::vector<std::string>& texts);

class Link {
 public:
  enum class Kind { kPeer, kRemote };

  Link(Context& the_context, raft::NodeId the_id, std::vector<membership::Url> urls, Kind kind);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // A connection to `url`, within Options::dial_timeout.
  void dial(const membership::Url& url, std::weak_ptr<const void> alive,
            base::Function<void(Dialled)> done) {
    peer::dial(context.lane, context.connector, url, context.options.dial_timeout, std::move(alive),
               std::move(done));
  }

  void activate();
  // `what` and `where` as in "failed to dial 8e9e05c52164694d on stream Message (reason)".
  void deactivate(std::string_view what, std::string_view where, std::string_view reason);
  bool active() const { return active_; }
  void begin_reading() {
    ++streams_read_;
    activate();
  }
  void end_reading() { --streams_read_; }

  // A message to it was lost. The handler hears of it once, at the end of the turn.
  void report_unreachable();
  // The same, counted as a failure to send.
  void sending_failed();

  Context& context;
  const raft::NodeId id;
  const std::string id_text;
  UrlPicker picker;
  PeerStats& stats;
  bool cut = false;  // drop what comes and goes

 private:
  const Kind kind_;
  bool active_ = false;
  int streams_read_ = 0;
  bool unreachable_due_ = false;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace keelson::peer
