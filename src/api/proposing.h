// Proposing: a handler whose request goes through the log. Proposes it, and turns the outcome into
// an answer.
#pragma once

#include <string_view>

#include "api/context.h"
#include "api/validation.h"
#include "proto/raft_internal.pb.h"

namespace keelson::api {

// Fields of an InternalRaftRequest. formats.md 5.2
inline constexpr std::uint32_t kPutField = etcdserverpb::InternalRaftRequest::kPutFieldNumber;
inline constexpr std::uint32_t kDeleteRangeField =
    etcdserverpb::InternalRaftRequest::kDeleteRangeFieldNumber;
inline constexpr std::uint32_t kTxnField = etcdserverpb::InternalRaftRequest::kTxnFieldNumber;
inline constexpr std::uint32_t kCompactionField =
    etcdserverpb::InternalRaftRequest::kCompactionFieldNumber;
inline constexpr std::uint32_t kLeaseGrantField =
    etcdserverpb::InternalRaftRequest::kLeaseGrantFieldNumber;
inline constexpr std::uint32_t kLeaseRevokeField =
    etcdserverpb::InternalRaftRequest::kLeaseRevokeFieldNumber;
inline constexpr std::uint32_t kAlarmField = etcdserverpb::InternalRaftRequest::kAlarmFieldNumber;

template <class Request>
class Proposing : public RequestHandler<Request> {
 public:
  using RequestHandler<Request>::RequestHandler;

 protected:
  void propose(std::uint32_t field, std::string_view bytes) {
    this->waiting_ = this->context_.front.propose(
        field, bytes, [this](base::Result<member::Reply, member::Failure> reply) {
          this->waiting_ = 0;
          if (!reply) return this->refuse(reply.error());
          this->applied(*std::move(reply));
        });
  }
  // The bytes as the client sent them if they may go into the log, else written anew.
  void propose_request(std::uint32_t field, std::string_view bytes) {
    if (is_canonical(this->request_, bytes.size())) return propose(field, bytes);
    propose_anew(field);
  }
  void propose_anew(std::uint32_t field) {
    this->request_.DiscardUnknownFields();
    propose(field, this->request_.SerializeAsString());
  }
  virtual void applied(member::Reply reply) = 0;
};

}  // namespace keelson::api
