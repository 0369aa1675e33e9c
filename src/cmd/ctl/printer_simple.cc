// --write-out=simple: what a person reads. cli.md A4.6.
#include <fmt/format.h>

#include "cmd/ctl/printer.h"
#include "cmd/ctl/rows.h"

namespace keelson::cmd::ctl {
namespace {

// \x61\x62
std::string hex_bytes(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return out;
}

class SimplePrinter final : public Printer {
 public:
  SimplePrinter(Output& output, bool hex, bool values_only)
      : Printer(output), hex_(hex), values_only_(values_only) {}

  Outcome put(const pb::PutResponse& response) override {
    output_.print_line("OK");
    if (response.has_prev_kv()) print_kv(response.prev_kv());
    return {};
  }
  Outcome get(const pb::RangeResponse& response) override {
    for (const auto& kv : response.kvs()) print_kv(kv);
    return {};
  }
  Outcome del(const pb::DeleteRangeResponse& response) override {
    output_.print_line(fmt::format("{}", response.deleted()));
    for (const auto& kv : response.prev_kvs()) print_kv(kv);
    return {};
  }
  Outcome txn(const pb::TxnResponse& response) override {
    output_.print_line(response.succeeded() ? "SUCCESS" : "FAILURE");
    for (const pb::ResponseOp& op : response.responses()) {
      output_.print_line("");
      if (op.has_response_range()) static_cast<void>(get(op.response_range()));
      if (op.has_response_put()) static_cast<void>(put(op.response_put()));
      if (op.has_response_delete_range()) static_cast<void>(del(op.response_delete_range()));
    }
    return {};
  }
  Outcome watch(const pb::WatchResponse& response) override {
    for (const auto& event : response.events()) {
      output_.print_line(mvccpb::Event_EventType_Name(event.type()));
      if (event.has_prev_kv()) print_kv(event.prev_kv());
      print_kv(event.kv());
    }
    return {};
  }

  Outcome lease_grant(const pb::LeaseGrantResponse& response) override {
    output_.print_line(
        fmt::format("lease {} granted with TTL({}s)", lease(response.id()), response.ttl()));
    return {};
  }
  Outcome lease_revoke(std::int64_t id, const pb::LeaseRevokeResponse&) override {
    output_.print_line(fmt::format("lease {} revoked", lease(id)));
    return {};
  }
  Outcome lease_keep_alive(const pb::LeaseKeepAliveResponse& response) override {
    output_.print_line(
        fmt::format("lease {} keepalived with TTL({})", lease(response.id()), response.ttl()));
    return {};
  }
  Outcome lease_time_to_live(const pb::LeaseTimeToLiveResponse& response, bool keys) override {
    if (response.grantedttl() == 0 && response.ttl() == -1) {
      output_.print_line(fmt::format("lease {} already expired", lease(response.id())));
      return {};
    }
    output_.print(fmt::format("lease {} granted with TTL({}s), remaining({}s)",
                              lease(response.id()), response.grantedttl(), response.ttl()));
    if (keys) {
      output_.print(fmt::format(", attached keys([{}])", fmt::join(response.keys(), " ")));
    }
    output_.print_line("");
    return {};
  }
  Outcome lease_list(const pb::LeaseLeasesResponse& response) override {
    output_.print_line(fmt::format("found {} leases", response.leases_size()));
    for (const auto& one : response.leases()) output_.print_line(lease(one.id()));
    return {};
  }

  Outcome member_list(const pb::MemberListResponse& response) override {
    return rows(member_table(response));
  }
  Outcome alarm(const pb::AlarmResponse& response) override {
    for (const auto& one : response.alarms()) {
      output_.print_line(
          fmt::format("memberID:{} alarm:{}", one.memberid(), pb::AlarmType_Name(one.alarm())));
    }
    return {};
  }
  Outcome plain(const PlainAnswer& answer) override {
    output_.print(answer.simple);
    return {};
  }
  Outcome endpoint_health(const std::vector<EndpointHealth>& all) override {
    for (const EndpointHealth& one : all) {
      if (one.error.empty()) {
        output_.print_line(fmt::format("{} is healthy: successfully committed proposal: took = {}",
                                       one.endpoint, one.took));
      } else {
        output_.complain(fmt::format("{} is unhealthy: failed to commit proposal: {}\n",
                                     one.endpoint, one.error));
      }
    }
    return {};
  }
  Outcome endpoint_status(const std::vector<EndpointStatus>& all) override {
    return rows(status_table(all));
  }
  Outcome endpoint_hash_kv(const std::vector<EndpointHashKv>& all) override {
    return rows(hash_kv_table(all));
  }

 private:
  static std::string lease(std::int64_t id) {
    return fmt::format("{:016x}", static_cast<std::uint64_t>(id));
  }
  void print_kv(const mvccpb::KeyValue& kv) {
    if (!values_only_) output_.print_line(hex_ ? hex_bytes(kv.key()) : kv.key());
    output_.print_line(hex_ ? hex_bytes(kv.value()) : kv.value());
  }
  Outcome rows(const Table& table) {
    for (const Row& row : table.rows) output_.print_line(fmt::format("{}", fmt::join(row, ", ")));
    return {};
  }

  const bool hex_;
  const bool values_only_;
};

}  // namespace

std::unique_ptr<Printer> make_simple_printer(Output& output, bool hex, bool values_only) {
  return std::make_unique<SimplePrinter>(output, hex, values_only);
}

}  // namespace keelson::cmd::ctl
