// SnapshotSender: one snapshot on its way to a peer, by POST /raft/snapshot: a length, the message,
// then the bytes of a SnapshotSource. Internal to peer/. formats.md 6.1, 7.1.
//
//   Dialing --open--> Sending --source's end--> Answering --204--> done
//      any --failed, another answer, a failed source--> broken off, done
//
// At most one piece is asked for while the socket holds socket_bytes_max: a slow peer holds two
// pieces, whatever the length.
#pragma once

#include <memory>
#include <string>

#include "base/function.h"
#include "http/http1_client.h"
#include "peer/link.h"
#include "peer/snapshot.h"

namespace keelson::peer {

class SnapshotSender final : private http::ResponseHandler {
 public:
  // `done` is called once, as the last thing, from within a call of its connection's or its
  // source's.
  SnapshotSender(Link& link, raft::Message message, std::unique_ptr<SnapshotSource> source,
                 base::Job done);
  ~SnapshotSender();
  SnapshotSender(const SnapshotSender&) = delete;
  SnapshotSender& operator=(const SnapshotSender&) = delete;

  // Gives up; `done` is not called.
  void cancel();
  bool finished() const { return state_ == State::kDone; }

 private:
  enum class State { kDialing, kSending, kAnswering, kDone };

  void dial();
  void begin(std::unique_ptr<http::Http1Client> client);
  void pump();
  void on_piece(SnapshotSource::Piece piece);
  void on_answer();
  void fail(std::string_view reason);
  void succeed();
  void end();

  void on_head(const http::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_end() override;
  void on_failed(const http::RequestFailure& failure) override;
  void on_drained() override;

  Link& link_;
  raft::Message message_;
  std::unique_ptr<SnapshotSource> source_;
  base::Job done_;
  const base::TimePoint started_;
  const std::uint64_t size_;

  State state_ = State::kDialing;
  membership::Url url_;
  std::unique_ptr<http::Http1Client> client_;
  bool asked_ = false;  // the source, and it has not answered
  int status_ = 0;
  std::string answer_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace keelson::peer
