// PeerHashes: HashKV of all other members at one revision, asked over their peer ports; and what
// goes over the wire for it, both ways. formats.md 6.1, operations.md 7.5.
//
//   GET /members/hashkv   {"revision":5}
//   200                   {"header":{"revision":9},"hash":1,"compact_revision":3,"hash_revision":5}
//   400                   the store's words: compacted, in the future, unreadable there
//
// A member that cannot be reached, or cannot say, is a row of the answer all the same.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "env/lane.h"
#include "member/shared.h"
#include "membership/member.h"
#include "peer/question.h"

namespace keelson::member {

inline constexpr std::string_view kHashPath = "/members/hashkv";

// What a member says of its keys up to `hash_revision`.
struct ToldHash {
  std::int64_t revision = 0;  // its newest one
  std::uint32_t hash = 0;
  std::int64_t compact_revision = 0;
  std::int64_t hash_revision = 0;
  friend bool operator==(const ToldHash&, const ToldHash&) = default;
};

// As Go's encoding/json writes them (fields that are zero are left out) and reads them.
std::string hash_request_json(std::int64_t revision);
std::optional<std::int64_t> parse_hash_request(std::string_view json);
std::string hash_json(const ToldHash& hash);
std::optional<ToldHash> parse_hash(std::string_view json);

// Why a member told nothing.
struct NoHash {
  enum class Why { kCompacted, kFutureRevision, kOtherCluster, kOther } why = Why::kOther;
  std::string text;
};

struct PeerHash {
  membership::MemberId id = 0;
  std::vector<std::string> urls;
  base::Result<ToldHash, NoHash> told = base::fail(NoHash{});
};

// What came back, as a row. Public for its test.
base::Result<ToldHash, NoHash> read_hash(const base::Result<peer::Answered>& answered);

class PeerHashes {
 public:
  struct Whom {
    Identity self;
    std::vector<membership::Member> members;  // self may be among them
    std::int64_t revision = 0;
    base::Duration patience;  // with each
  };
  // In the order of the members.
  using Done = base::Function<void(std::vector<PeerHash>)>;
  // In a job of `lane`, where `done` runs once, never from within this call; destroying it ends the
  // asking. `connector` outlives it.
  PeerHashes(env::Lane& lane, peer::Connector& connector, Whom whom, Done done);
  ~PeerHashes();
  PeerHashes(const PeerHashes&) = delete;
  PeerHashes& operator=(const PeerHashes&) = delete;

 private:
  void ask(std::size_t row);
  void answered(std::size_t row, const base::Result<peer::Answered>& answered);
  void finish_if_all();

  env::Lane& lane_;
  peer::Connector& connector_;
  const Whom whom_;
  Done done_;
  std::vector<PeerHash> rows_;
  std::vector<std::unique_ptr<peer::Question>> questions_;
  std::size_t unanswered_ = 0;
  env::TimerId timer_ = 0;
};

}  // namespace keelson::member
