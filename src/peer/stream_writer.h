// StreamWriter: the sending half of one stream to a peer: what waits for it, and the connection the
// peer has opened to read it. Internal to peer/.
//
//   Detached --attach--> Attached --attach (a newer one: the former is closed)--> Attached
//   Attached --the connection breaks, or stalls; close()--> Detached
//
// Invariants   W1  nothing waits while it is detached: push() is for an attached one only
//              W2  small messages leave before appends and proposals, else in order; those that
//                  go on from each other as one (join.h)
//              W3  what waits is bounded in number and bytes; beyond it push() refuses
//              W4  a connection lost while anything waited or was in flight is reported
//
// Life: the connection belongs to the server of the peer port (OutgoingStream is its request's
// handler); either may go first, and unties itself from the other.
#pragma once

#include <deque>
#include <string_view>

#include "env/lane.h"
#include "http/http1.h"
#include "peer/link.h"
#include "peer/stream_codec.h"
#include "raft/types.h"

namespace keelson::peer {

class StreamWriter;

// The request for a stream, once it was found in order: answered without end.
class OutgoingStream {
 public:
  virtual ~OutgoingStream() = default;
  virtual http::Exchange& exchange() = 0;
  // The writer has let go of it.
  virtual void on_detached() = 0;
};

class StreamWriter {
 public:
  StreamWriter(Link& link, StreamKind kind) : link_(link), kind_(kind) {}
  ~StreamWriter() { close(); }
  StreamWriter(const StreamWriter&) = delete;
  StreamWriter& operator=(const StreamWriter&) = delete;

  // `stream` lives until on_lost(), or until it was let go of.
  void attach(OutgoingStream& stream);
  bool attached() const { return stream_ != nullptr; }

  // False: full.
  [[nodiscard]] bool push(raft::Message&& message);
  // Writes what waits as far as there is room: at the end of a batch.
  void flush();
  // Lets go of the connection; what waits is dropped.
  void close();

  // For the stream: all was taken; and it is no more.
  void on_drained() { flush(); }
  void on_lost(std::string_view reason);

 private:
  void start_timer();
  void on_timer();
  void write(FrameBuffer& buffer);
  void detach();
  bool stalled();
  std::size_t waiting() const { return urgent_.size() + bulk_.size(); }
  raft::Message pop();

  Link& link_;
  const StreamKind kind_;
  OutgoingStream* stream_ = nullptr;
  StreamEncoder encoder_{kind_};
  std::deque<raft::Message> urgent_;
  std::deque<raft::Message> bulk_;  // appends and proposals
  std::size_t waiting_bytes_ = 0;

  env::TimerId timer_ = 0;  // the next link heartbeat
  std::uint64_t written_ = 0;
  std::uint64_t taken_ = 0;  // of that by the kernel, when last looked at
  base::TimePoint progress_at_;
};

}  // namespace keelson::peer
