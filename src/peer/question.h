// Question: one HTTP request to a member's peer port and its whole answer, on a connection of its
// own (KeptConnection is for what is asked often): GET /version, GET /members, POST
// /members/promote/..., POST /leases. What is asked seldom, beside the transport.
//
//   ask(lane, connector, {.urls = ..., .request = ...}, done) -> Question; destroyed: no answer
//
// The URLs are tried in their order until one is reached; a member that answers, however, has
// answered. The whole takes no longer than `timeout`, the answer no more than `body_bytes_max`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "peer/kept_connection.h"

namespace keelson::peer {

struct Asked {
  std::vector<std::string> urls;  // of one member; what is no URL is passed over
  http::ClientRequest request;    // Host is set from the URL
  base::Duration timeout = base::Seconds(1);
  std::size_t body_bytes_max = 1 << 20;
};

class Question {
 public:
  virtual ~Question() = default;
};

// In a job of `lane`, where `done` is called too, once, never from within this call. It may destroy
// the question.
std::unique_ptr<Question> ask(env::Lane& lane, Connector& connector, Asked asked,
                              base::Function<void(base::Result<Answered>)> done);

}  // namespace keelson::peer
