// SnapshotSource and SnapshotSink: the two ends of a snapshot that goes from member to member: a
// raft message, then the bytes of a bbolt file, as long as the file is. formats.md 6.1, 7.1, 7.2.
//
//   SnapshotSource --next--> Transport --POST /raft/snapshot--> Transport --write--> SnapshotSink
//
// Both are made by the member and owned by the transport, which uses and destroys them in jobs of
// its lane. What takes long (laying out pages, reading cold records, writing, importing) they have
// done elsewhere, and answer by a job of that lane. One question is open at a time, so memory stays
// at two pieces per transfer however large the file is, and a slow end slows the other.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/function.h"
#include "base/result.h"

namespace keelson::peer {

class SnapshotSource {
 public:
  // Destroyed when the transfer is over, however it ended: whatever it held (a View) is free then.
  virtual ~SnapshotSource() = default;

  // How many bytes there are in all.
  virtual std::uint64_t size() const = 0;

  // Some bytes (some 64 KiB to 1 MiB are best); none: that was the end. After an error the
  // connection is broken off, so that the receiver sees a torn body, never a short one.
  using Piece = base::Result<base::SharedBytes>;
  // Asks for the next piece; `done` is called in a job of the transport's lane, never from within
  // this call. Not asked again before that, nor after the end or an error. May still be called when
  // the source has gone: it does nothing then.
  virtual void next(base::Function<void(Piece)> done) = 0;
};

class SnapshotSink {
 public:
  // Destroyed without finish(), or before finish() was answered: the transfer broke, and what came
  // is to be thrown away.
  virtual ~SnapshotSink() = default;

  using Done = base::Function<void(base::Result<>)>;
  // The next bytes, in order. `done` says that more may come; it is called in a job of the
  // transport's lane, never from within this call. Meanwhile the peer waits (it has to be answered
  // within seconds: etcd gives up what stalls for five). An error ends the transfer, answered by
  // 500. May still be called when the sink has gone: it does nothing then.
  virtual void write(base::SharedBytes bytes, Done done) = 0;

  // The body came whole. `done` without error says that the snapshot is durable and may be given to
  // raft: the message follows by Handler::receive, and the peer hears of success.
  virtual void finish(Done done) = 0;
};

}  // namespace keelson::peer
