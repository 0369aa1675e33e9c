// Pipeline: messages to one member by POST /raft, each its own request: for what no stream can
// take. Internal to peer/.
//
//   push --> queue --> Post: Idle --message--> Busy (kept_connection.h) --answer--> Idle
//                                                                     \--none--> Idle, reported
//
// Up to Limits::posts_max are under way, each on a connection of its own, which is kept for the
// next message. A proposal must not arrive twice: it could be applied twice.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "peer/link.h"
#include "raft/types.h"

namespace keelson::peer {

class Pipeline {
 public:
  explicit Pipeline(Link& link);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // False: full, or the member has no URL.
  [[nodiscard]] bool push(raft::Message&& message);

 private:
  class Post;

  void start_next(Post& post);
  void on_done(const raft::Message& message, bool ok, std::string_view reason);

  Link& link_;
  std::deque<raft::Message> queue_;
  std::vector<std::unique_ptr<Post>> posts_;
};

}  // namespace keelson::peer
