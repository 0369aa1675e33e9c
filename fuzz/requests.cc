// Requests through the checks of the front end and through the state machine, several after one
// another: nothing a client sends may stop a member. A request is a selector, a length and the
// message's bytes.
//
// KEELSON_FUZZ_ENTRIES names a file that takes each entry which would go into the log in the
// client's own bytes, beside what this side understands of it: tests/peers/entries holds Go's
// protobuf to the same content.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "api/proposing.h"
#include "api/validation.h"
#include "apply/state_machine.h"
#include "base/varint.h"
#include "fuzz/input.h"
#include "mvcc/memory_store_test.h"
#include "mvcc/range.h"
#include "mvcc/read_txn.h"

namespace keelson::fuzz {
namespace {

constexpr std::uint64_t kMember = 0xABCD;
constexpr std::size_t kOperationsMax = 128;
constexpr std::size_t kEntriesBytesMax = std::size_t{64} << 20;

// length and bytes of the entry, length and bytes of the same encoded anew.
void note_entry(std::string_view entry, const google::protobuf::Message& understood) {
  static std::FILE* const file = [] {
    const char* name = std::getenv("KEELSON_FUZZ_ENTRIES");
    return name != nullptr ? std::fopen(name, "wb") : nullptr;
  }();
  static std::size_t written = 0;
  if (file == nullptr || written > kEntriesBytesMax) return;
  for (const std::string& bytes : {std::string(entry), understood.SerializeAsString()}) {
    std::string framed;
    base::put_bytes_field(framed, 1, bytes);
    written += framed.size();
    std::fwrite(framed.data(), 1, framed.size(), file);
  }
  std::fflush(file);
}

class Member {
 public:
  Member() : state_({.member_id = kMember}) { CHECK(state_.finish_recovery(1)); }

  void request(std::uint8_t selector, std::string_view bytes) {
    switch (selector % 8) {
      case 0:
        return read<etcdserverpb::RangeRequest>(bytes);
      case 1:
        return write<etcdserverpb::PutRequest>(api::kPutField, bytes);
      case 2:
        return write<etcdserverpb::DeleteRangeRequest>(api::kDeleteRangeField, bytes);
      case 3:
        return txn(bytes);
      case 4:
        return anew<etcdserverpb::CompactionRequest>(api::kCompactionField, bytes);
      case 5:
        return anew<etcdserverpb::LeaseGrantRequest>(api::kLeaseGrantField, bytes);
      case 6:
        return anew<etcdserverpb::LeaseRevokeRequest>(api::kLeaseRevokeField, bytes);
      default:
        return anew<etcdserverpb::AlarmRequest>(api::kAlarmField, bytes);
    }
  }

 private:
  template <class Request>
  void read(std::string_view bytes) {
    Request request;
    if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    if (api::check(request)) return;
    MAYBE(mvcc::range(view_, request, store_, 1 << 20).ok());
  }
  template <class Request>
  void write(std::uint32_t field, std::string_view bytes) {
    Request request;
    if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    if (!api::check(request)) propose(field, request, bytes);
  }
  void txn(std::string_view bytes) {
    etcdserverpb::TxnRequest request;
    if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    if (api::check(request, kOperationsMax)) return;
    if (!api::is_read_only(request)) return propose(api::kTxnField, request, bytes);
    MAYBE(mvcc::read_only_txn(view_, request, store_, 1 << 20).ok());
  }
  template <class Request>
  void anew(std::uint32_t field, std::string_view bytes) {
    Request request;
    if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
    request.DiscardUnknownFields();
    apply(field, request.SerializeAsString());
  }
  // As api::Proposing does.
  template <class Request>
  void propose(std::uint32_t field, Request& request, std::string_view bytes) {
    if (api::is_canonical(request, bytes.size())) {
      const std::string entry = apply(field, bytes);
      etcdserverpb::InternalRaftRequest understood;
      CHECK(understood.ParseFromString(entry));
      note_entry(entry, understood);
      return;
    }
    request.DiscardUnknownFields();
    apply(field, request.SerializeAsString());
  }
  std::string apply(std::uint32_t field, std::string_view request) {
    etcdserverpb::InternalRaftRequest head;
    head.mutable_header()->set_id(kMember << 48 | ++index_);
    std::string entry = head.SerializeAsString();
    base::put_message_field(entry, field, request);
    base::Batch batch;
    state_.begin(batch, store_, 0);
    state_.apply({.term = 2, .index = index_, .data = base::SharedBytes(entry)});
    while (state_.compacting() && state_.compact_slice(100)) {
    }
    const auto result = state_.finish();
    CHECK_EQ(result.outcomes.size(), 1u);
    store_.append(batch);
    store_.collect(result.dead);
    view_ = state_.publish_keys();
    return entry;
  }

  mvcc::MemoryStore store_;
  apply::StateMachine state_;
  mvcc::View view_{};
  std::uint64_t index_ = 0;
};

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keelson::fuzz::Input input(data, size);
  keelson::fuzz::Member member;
  for (int n = 0; n < 64 && !input.empty(); n++) {
    const std::uint8_t selector = input.byte();
    member.request(selector, input.piece());
  }
  return 0;
}
