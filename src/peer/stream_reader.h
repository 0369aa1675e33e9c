// StreamReader: the receiving half of one stream: dials the peer, asks for the stream, decodes what
// comes, and dials again when it ends. Internal to peer/.
//
//   Waiting --due--> Dialing --open--> Asking --200--> Reading
//      ^                |                |--412--> Refused --text--|     |
//      |----failed------/----------------/---------------------------------/
//
// Dials are at least Options::dial_retry apart, at the peer's next URL if one failed. A peer
// without URLs is not dialled before it has some.
//
// The connection is for this stream alone. It has to bring a link heartbeat, at least, within
// Options::read_timeout.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/http1_client.h"
#include "peer/link.h"
#include "peer/stream_codec.h"

namespace keelson::peer {

class StreamReader final : private http::ResponseHandler, private MessageSink {
 public:
  StreamReader(Link& link, StreamKind kind);
  ~StreamReader();
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  // There are other URLs: dials if it had none.
  void on_urls_changed();

 private:
  enum class State { kWaiting, kDialing, kAsking, kRefused, kReading };

  void wait();
  void dial();
  void ask(std::unique_ptr<http::Http1Client> client);
  http::ClientRequest request() const;
  void begin_reading();
  void fail(std::string_view what, std::string_view reason);
  void end_reading(std::string_view reason);
  void on_refusal();

  void on_head(const http::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_end() override;
  void on_failed(const http::RequestFailure& failure) override;
  void on_message(raft::Message message) override;

  Link& link_;
  const StreamKind kind_;
  State state_ = State::kWaiting;
  env::TimerId timer_ = 0;
  base::TimePoint next_dial_;
  membership::Url url_;  // dialled
  std::unique_ptr<http::Http1Client> client_;
  std::optional<StreamDecoder> decoder_;
  std::string refusal_;
  std::string remote_cluster_id_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace keelson::peer
