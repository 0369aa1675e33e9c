// Printer: answers in the five formats of `--write-out`. cli.md A4.
//
// A format that has no form for an answer refuses it with kExitBadFeature.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/ctl/outcome.h"
#include "cmd/ctl/output.h"
#include "proto/rpc.pb.h"

namespace keelson::cmd::ctl {

namespace pb = etcdserverpb;

struct EndpointHealth {
  std::string endpoint;
  bool health = false;
  std::string took;
  std::string error;
};
struct EndpointStatus {
  std::string endpoint;
  pb::StatusResponse response;
};
struct EndpointHashKv {
  std::string endpoint;
  pb::HashKVResponse response;
};

// An answer with little in it besides its header. `simple` is the whole text of that format, with
// its newlines; `fields` what follows the header there (nullopt: the format has no form for it).
struct PlainAnswer {
  const google::protobuf::Message& response;
  const pb::ResponseHeader& header;
  std::string simple;
  std::optional<std::string> fields;
};

class Printer {
 public:
  explicit Printer(Output& output) : output_(output) {}
  virtual ~Printer() = default;

  virtual Outcome put(const pb::PutResponse& response) = 0;
  virtual Outcome get(const pb::RangeResponse& response) = 0;
  virtual Outcome del(const pb::DeleteRangeResponse& response) = 0;
  virtual Outcome txn(const pb::TxnResponse& response) = 0;
  virtual Outcome watch(const pb::WatchResponse& response) = 0;

  virtual Outcome lease_grant(const pb::LeaseGrantResponse& response) = 0;
  virtual Outcome lease_revoke(std::int64_t id, const pb::LeaseRevokeResponse& response) = 0;
  virtual Outcome lease_keep_alive(const pb::LeaseKeepAliveResponse& response) = 0;
  virtual Outcome lease_time_to_live(const pb::LeaseTimeToLiveResponse& response, bool keys) = 0;
  virtual Outcome lease_list(const pb::LeaseLeasesResponse& response) = 0;

  virtual Outcome member_list(const pb::MemberListResponse& response) = 0;
  virtual Outcome alarm(const pb::AlarmResponse& response) = 0;
  virtual Outcome plain(const PlainAnswer& answer) = 0;
  virtual Outcome endpoint_health(const std::vector<EndpointHealth>& all) = 0;
  virtual Outcome endpoint_status(const std::vector<EndpointStatus>& all) = 0;
  virtual Outcome endpoint_hash_kv(const std::vector<EndpointHashKv>& all) = 0;

 protected:
  Output& output_;
};

// nullptr for a name that is none.
// kExitBadFeature, "table not supported as output format".
Outcome unsupported(std::string_view format);

std::unique_ptr<Printer> make_printer(Output& output, std::string_view format, bool hex);

// The formats.
std::unique_ptr<Printer> make_simple_printer(Output& output, bool hex, bool values_only = false);
std::unique_ptr<Printer> make_fields_printer(Output& output, bool hex);
std::unique_ptr<Printer> make_json_printer(Output& output, bool hex);
std::unique_ptr<Printer> make_protobuf_printer(Output& output);
std::unique_ptr<Printer> make_table_printer(Output& output);

}  // namespace keelson::cmd::ctl
