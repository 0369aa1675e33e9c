// --write-out=fields: a name and a value on each line. cli.md A4.4.
#include <fmt/format.h>

#include "base/go_text.h"
#include "cmd/ctl/printer.h"

namespace keelson::cmd::ctl {
namespace {

class FieldsPrinter final : public Printer {
 public:
  FieldsPrinter(Output& output, bool hex) : Printer(output), hex_(hex) {}

  Outcome put(const pb::PutResponse& response) override {
    header(response.header());
    if (response.has_prev_kv()) key_value("Prev", response.prev_kv());
    return {};
  }
  Outcome get(const pb::RangeResponse& response) override {
    header(response.header());
    for (const auto& kv : response.kvs()) key_value("", kv);
    field("More", response.more());
    field("Count", response.count());
    return {};
  }
  Outcome del(const pb::DeleteRangeResponse& response) override {
    header(response.header());
    field("Deleted", response.deleted());
    for (const auto& kv : response.prev_kvs()) key_value("Prev", kv);
    return {};
  }
  Outcome txn(const pb::TxnResponse& response) override {
    header(response.header());
    field("Succeeded", response.succeeded());
    for (const pb::ResponseOp& op : response.responses()) {
      if (op.has_response_range()) static_cast<void>(get(op.response_range()));
      if (op.has_response_put()) static_cast<void>(put(op.response_put()));
      if (op.has_response_delete_range()) static_cast<void>(del(op.response_delete_range()));
    }
    return {};
  }
  Outcome watch(const pb::WatchResponse& response) override {
    header(response.header());
    for (const auto& event : response.events()) {
      field("Type", mvccpb::Event_EventType_Name(event.type()));
      if (event.has_prev_kv()) key_value("Prev", event.prev_kv());
      key_value("", event.kv());
    }
    return {};
  }

  Outcome lease_grant(const pb::LeaseGrantResponse& response) override {
    header(response.header());
    lease_id("ID", response.id());
    field("TTL", response.ttl());
    return {};
  }
  Outcome lease_revoke(std::int64_t, const pb::LeaseRevokeResponse& response) override {
    header(response.header());
    return {};
  }
  Outcome lease_keep_alive(const pb::LeaseKeepAliveResponse& response) override {
    header(response.header());
    lease_id("ID", response.id());
    field("TTL", response.ttl());
    return {};
  }
  Outcome lease_time_to_live(const pb::LeaseTimeToLiveResponse& response, bool) override {
    header(response.header());
    lease_id("ID", response.id());
    field("TTL", response.ttl());
    field("GrantedTTL", response.grantedttl());
    for (const std::string& key : response.keys()) quoted("Key", key);
    return {};
  }
  Outcome lease_list(const pb::LeaseLeasesResponse& response) override {
    header(response.header());
    for (const auto& one : response.leases()) lease_id("ID", one.id());
    return {};
  }

  Outcome member_list(const pb::MemberListResponse& response) override {
    header(response.header());
    for (const pb::Member& member : response.members()) {
      member_id("ID", member.id());
      quoted("Name", member.name());
      for (const std::string& url : member.peerurls()) quoted("PeerURL", url);
      for (const std::string& url : member.clienturls()) quoted("ClientURL", url);
      field("IsLearner", member.islearner());
      output_.print_line("");
    }
    return {};
  }
  Outcome alarm(const pb::AlarmResponse& response) override {
    header(response.header());
    for (const auto& one : response.alarms()) {
      member_id("MemberID", one.memberid());
      field("AlarmType", pb::AlarmType_Name(one.alarm()));
      output_.print_line("");
    }
    return {};
  }
  Outcome plain(const PlainAnswer& answer) override {
    if (!answer.fields) return unsupported("fields");
    header(answer.header);
    output_.print(*answer.fields);
    return {};
  }
  Outcome endpoint_health(const std::vector<EndpointHealth>& all) override {
    for (const EndpointHealth& one : all) {
      quoted("Endpoint", one.endpoint);
      field("Health", one.health);
      field("Took", one.took);
      field("Error", one.error);
      output_.print_line("");
    }
    return {};
  }
  Outcome endpoint_status(const std::vector<EndpointStatus>& all) override {
    for (const EndpointStatus& one : all) status(one);
    return {};
  }
  Outcome endpoint_hash_kv(const std::vector<EndpointHashKv>& all) override {
    for (const EndpointHashKv& one : all) {
      header(one.response.header());
      quoted("Endpoint", one.endpoint);
      field("Hash", one.response.hash());
      field("HashRevision", one.response.hash_revision());
      output_.print_line("");
    }
    return {};
  }

 private:
  template <class T>
  void field(std::string_view name, const T& value) {
    output_.print_line(fmt::format("\"{}\" : {}", name, value));
  }
  void quoted(std::string_view name, std::string_view text) { field(name, base::quote(text)); }
  void member_id(std::string_view name, std::uint64_t id) {
    hex_ ? field(name, fmt::format("{:x}", id)) : field(name, id);
  }
  void lease_id(std::string_view name, std::int64_t id) {
    hex_ ? field(name, fmt::format("{:016x}", static_cast<std::uint64_t>(id))) : field(name, id);
  }
  void header(const pb::ResponseHeader& header) {
    member_id("ClusterID", header.cluster_id());
    member_id("MemberID", header.member_id());
    if (header.revision() > 0) field("Revision", header.revision());
    field("RaftTerm", header.raft_term());
  }
  void key_value(std::string_view prefix, const mvccpb::KeyValue& kv) {
    const auto name = [&](std::string_view suffix) { return std::string(prefix).append(suffix); };
    quoted(name("Key"), kv.key());
    field(name("CreateRevision"), kv.create_revision());
    field(name("ModRevision"), kv.mod_revision());
    field(name("Version"), kv.version());
    quoted(name("Value"), kv.value());
    lease_id(name("Lease"), kv.lease());
  }
  void status(const EndpointStatus& one) {
    const pb::StatusResponse& status = one.response;
    header(status.header());
    quoted("Version", status.version());
    quoted("StorageVersion", status.storageversion());
    field("DBSize", status.dbsize());
    field("DBSizeInUse", status.dbsizeinuse());
    field("DBSizeQuota", status.dbsizequota());
    field("Leader", status.leader());
    field("IsLearner", status.islearner());
    field("RaftIndex", status.raftindex());
    field("RaftTerm", status.raftterm());
    field("RaftAppliedIndex", status.raftappliedindex());
    field("Errors", fmt::format("[{}]", fmt::join(status.errors(), " ")));
    quoted("Endpoint", one.endpoint);
    quoted("DowngradeTargetVersion", status.downgradeinfo().targetversion());
    field("DowngradeEnabled", status.downgradeinfo().enabled());
    output_.print_line("");
  }

  const bool hex_;
};

}  // namespace

std::unique_ptr<Printer> make_fields_printer(Output& output, bool hex) {
  return std::make_unique<FieldsPrinter>(output, hex);
}

}  // namespace keelson::cmd::ctl
