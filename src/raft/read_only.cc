#include "raft/read_only.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson::raft {
namespace {

constexpr std::size_t kContextBytes = 8;

std::string to_little_endian(std::uint64_t value) {
  std::string out(kContextBytes, '\0');
  for (std::size_t i = 0; i < kContextBytes; i++) out[i] = static_cast<char>(value >> (8 * i));
  return out;
}

std::uint64_t from_little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kContextBytes; i++) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return value;
}

}  // namespace

void ReadOnly::add(Message request, Index commit, NodeId self) {
  CHECK(reads_.empty() || reads_.back().commit <= commit);
  reads_.push_back({std::move(request), commit});
  acks_[self] = confirmed_ + reads_.size();
}

std::string ReadOnly::heartbeat_context() const {
  if (reads_.empty()) return {};
  return to_little_endian(confirmed_ + reads_.size());
}

void ReadOnly::acknowledge(NodeId from, std::string_view context) {
  if (context.size() < kContextBytes) return;
  // Nobody can confirm what was not asked yet (R1).
  const std::uint64_t number =
      std::min<std::uint64_t>(from_little_endian(context), confirmed_ + reads_.size());
  std::uint64_t& ack = acks_[from];
  ack = std::max(ack, number);
}

std::vector<ReadOnly::Read> ReadOnly::take_confirmed(const JointConfig& voters) {
  const Index by_quorum = committed_index(voters, [this](NodeId id) -> std::optional<Index> {
    const auto it = acks_.find(id);
    if (it == acks_.end()) return std::nullopt;
    return it->second;
  });
  std::vector<Read> confirmed;
  while (!reads_.empty() && confirmed_ < by_quorum) {
    confirmed.push_back(std::move(reads_.front()));
    reads_.pop_front();
    confirmed_++;
  }
  return confirmed;
}

}  // namespace keelson::raft
