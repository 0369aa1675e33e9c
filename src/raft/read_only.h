// ReadOnly: the reads a leader has promised and not yet confirmed. raft.md 11.
//
// A read may be answered with the commit index of its arrival once a quorum has confirmed, by
// answering a heartbeat sent after it, that this node was still the leader. Requests form a queue
// and are numbered by place from the start of the leadership; a heartbeat carries the number of the
// newest, so that one round confirms every read before it, and a lost round is healed by any later
// one.
//
//   confirmed | confirmed+1 ... confirmed+unconfirmed    <- a heartbeat's context is this last
//   number
//
// Invariants   R1  an acknowledgement counts only for reads that had arrived when its heartbeat was
// sent
//              R2  reads are confirmed in the order they came
// Dies with the leadership; whoever asked asks again.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"
#include "raft/quorum/quorum.h"
#include "raft/types.h"

namespace keelson::raft {

class ReadOnly {
 public:
  struct Read {
    Message request;  // kReadIndex
    Index commit = 0;
  };

  // A request that came while the leader had committed up to `commit`. `self` confirms it at once.
  void add(Message request, Index commit, NodeId self);
  // What a heartbeat sent now shall carry: eight bytes little endian, or nothing if no read waits.
  std::string heartbeat_context() const;
  // `from` answered a heartbeat with this context. What is shorter than eight bytes is not ours.
  void acknowledge(NodeId from, std::string_view context);
  // Takes out the reads that a quorum has confirmed.
  std::vector<Read> take_confirmed(const JointConfig& voters);

  std::size_t unconfirmed() const { return reads_.size(); }

 private:
  std::uint64_t confirmed_ = 0;  // how many since the leadership began
  std::deque<Read> reads_;
  base::OrderedMap<NodeId, std::uint64_t> acks_;  // highest number each has confirmed
};

}  // namespace keelson::raft
