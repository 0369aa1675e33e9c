// Publisher: what a started member says of itself through the log: its name and client URLs, and,
// leading, the version the cluster runs at. operations.md 2.8, 7.7.
//
//   start --(leader known, entry applied)--> published: the member is ready to serve
//   start --(a second without an answer)--> said once more. A member that is behind may be sent a
//   snapshot that has the entry in it already; then no entry ever answers for it.
//   published --at once, then every 4 s, if this member leads--> asks all servers for their
//   versions; the cluster's is set or raised to the lowest minor
//
// Jobs of one io lane.
#pragma once

#include "base/containers.h"
#include "base/function.h"
#include "member/front.h"
#include "member/revoke_pace.h"
#include "peer/question.h"

namespace keelson::member {

// The header field Server of what /version answers on the peer port, by which members of this kind
// know each other. etcd has no such field, and looks for none.
inline constexpr std::string_view kServerField = "Server";
inline constexpr std::string_view kServerMark = "keelson";

class Publisher {
 public:
  Publisher(Front& front, base::Job on_published);
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  void start();
  void stop();

 private:
  void publish();
  void on_answer(std::uint64_t attempt, bool heard);
  void publish_again();
  void watch_version();
  void ask_version(const membership::Member& member);
  void decide_version();

  Front& front_;
  base::Job on_published_;
  base::OrderedMap<std::uint64_t, Ticket> attempts_;  // to publish, none answered yet
  std::uint64_t attempts_made_ = 0;
  bool published_ = false;
  Ticket ticket_ = 0;  // of the version
  env::TimerId timer_ = 0;
  bool stopped_ = false;

  // Of the servers, while a look at them is under way.
  base::OrderedMap<membership::MemberId, membership::Version> versions_;
  std::size_t unanswered_ = 0;
  RevokePace pace_;
  std::vector<std::unique_ptr<peer::Question>> questions_;
};

}  // namespace keelson::member
