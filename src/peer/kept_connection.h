// KeptConnection: one HTTP request at a time to a member's peer port, and its whole answer; the
// connection stays for the next one.
//
//   Idle --ask, connected to that URL--> Asked --answer--> Idle, connected for Options::keep
//    \--ask--> Dialling --open---------->/   \--broke off before an answer, kept--> Dialling
//                  \--failed--> Idle          \--failed, too large--> Idle
//
// `keep` is to be less than the time after which a peer port closes an idle connection (5 s).
// Should such a close cross with a request, that is sent once more on a new connection, unless it
// must not arrive twice.
//
// Belongs to the lane. `done` is called in a job of it, once, never from within ask(); not after
// drop() or destruction. It may do anything to this, destroy it too; the next request may be asked
// from there.
#pragma once

#include <memory>
#include <string>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "env/lane.h"
#include "http/http1_client.h"
#include "peer/connector.h"

namespace keelson::peer {

struct Answered {
  int status = 0;
  http::Headers headers;
  std::string body;
};

// Why there is no answer.
struct NoAnswer {
  base::Error error;
  bool connected = false;  // whether it was asked at all
};

class KeptConnection final : private http::ResponseHandler {
 public:
  struct Options {
    base::Duration keep = base::Seconds(3);
    std::size_t body_bytes_max = 4096;  // of an answer
  };
  struct Errand {
    membership::Url url;
    http::ClientRequest request;  // Host is set from the URL
    base::Duration dial_timeout;
    bool may_arrive_twice = true;
  };
  using Done = base::Function<void(base::Result<Answered, NoAnswer>)>;

  // `connector` outlives it.
  KeptConnection(env::Lane& lane, Connector& connector, Options options);
  ~KeptConnection() override;
  KeptConnection(const KeptConnection&) = delete;
  KeptConnection& operator=(const KeptConnection&) = delete;

  // Only if it is not busy.
  void ask(Errand errand, Done done);
  bool busy() const { return done_ != nullptr; }
  // Forgets what is asked, and the connection.
  void drop();

 private:
  void dial();
  void send();
  void finish(base::Result<Answered, NoAnswer> result);
  void fail(base::Error error, bool connected);

  void on_head(const http::ResponseHead& head) override;
  void on_body(std::string_view bytes) override;
  void on_end() override;
  void on_failed(const http::RequestFailure& failure) override;

  env::Lane& lane_;
  Connector& connector_;
  const Options options_;
  Errand errand_;
  Done done_;  // while it is busy
  Answered answer_;
  membership::Url url_;                        // of the connection
  std::unique_ptr<http::Http1Client> client_;  // nullptr: none
  bool may_send_again_ = false;
  env::TimerId timer_ = 0;      // until a connection that is idle is closed
  std::shared_ptr<int> alive_;  // of what is asked
};

}  // namespace keelson::peer
