#include "cmd/ctl/printer.h"

#include <fmt/format.h>

#include "cmd/ctl/rows.h"

namespace keelson::cmd::ctl {

std::unique_ptr<Printer> make_printer(Output& output, std::string_view format, bool hex) {
  if (format == "simple") return make_simple_printer(output, hex);
  if (format == "fields") return make_fields_printer(output, hex);
  if (format == "json") return make_json_printer(output, hex);
  if (format == "protobuf") return make_protobuf_printer(output);
  if (format == "table") return make_table_printer(output);
  return nullptr;
}

Outcome unsupported(std::string_view format) {
  return exit_with(kExitBadFeature, fmt::format("{} not supported as output format", format));
}

namespace {

class TablePrinter final : public Printer {
 public:
  using Printer::Printer;

  Outcome member_list(const pb::MemberListResponse& response) override {
    return print(member_table(response));
  }
  Outcome endpoint_health(const std::vector<EndpointHealth>& all) override {
    return print(health_table(all));
  }
  Outcome endpoint_status(const std::vector<EndpointStatus>& all) override {
    return print(status_table(all));
  }
  Outcome endpoint_hash_kv(const std::vector<EndpointHashKv>& all) override {
    return print(hash_kv_table(all));
  }

  Outcome put(const pb::PutResponse&) override { return unsupported("table"); }
  Outcome get(const pb::RangeResponse&) override { return unsupported("table"); }
  Outcome del(const pb::DeleteRangeResponse&) override { return unsupported("table"); }
  Outcome txn(const pb::TxnResponse&) override { return unsupported("table"); }
  Outcome watch(const pb::WatchResponse&) override { return unsupported("table"); }
  Outcome lease_grant(const pb::LeaseGrantResponse&) override { return unsupported("table"); }
  Outcome lease_revoke(std::int64_t, const pb::LeaseRevokeResponse&) override {
    return unsupported("table");
  }
  Outcome lease_keep_alive(const pb::LeaseKeepAliveResponse&) override {
    return unsupported("table");
  }
  Outcome lease_time_to_live(const pb::LeaseTimeToLiveResponse&, bool) override {
    return unsupported("table");
  }
  Outcome lease_list(const pb::LeaseLeasesResponse&) override { return unsupported("table"); }
  Outcome alarm(const pb::AlarmResponse&) override { return unsupported("table"); }
  Outcome plain(const PlainAnswer&) override { return unsupported("table"); }

 private:
  Outcome print(const Table& table) {
    output_.print(table_text(table));
    return {};
  }
};

// The bare bytes of a message, without a newline. Of a lease's answer etcdctl writes the header
// alone.
class ProtobufPrinter final : public Printer {
 public:
  using Printer::Printer;

  Outcome put(const pb::PutResponse& response) override { return print(response); }
  Outcome get(const pb::RangeResponse& response) override { return print(response); }
  Outcome del(const pb::DeleteRangeResponse& response) override { return print(response); }
  Outcome txn(const pb::TxnResponse& response) override { return print(response); }
  Outcome watch(const pb::WatchResponse& response) override {
    pb::WatchResponse shown;
    *shown.mutable_header() = response.header();
    *shown.mutable_events() = response.events();
    shown.set_compact_revision(response.compact_revision());
    shown.set_canceled(response.canceled());
    shown.set_created(response.created());
    return print(shown);
  }
  Outcome lease_grant(const pb::LeaseGrantResponse& response) override {
    return print(response.header());
  }
  Outcome lease_revoke(std::int64_t, const pb::LeaseRevokeResponse& response) override {
    return exit_with(kExitBadFeature,
                     fmt::format("marshal unsupported for type *clientv3.LeaseRevokeResponse ({})",
                                 response.header().ShortDebugString()));
  }
  Outcome lease_keep_alive(const pb::LeaseKeepAliveResponse& response) override {
    return print(response.header());
  }
  Outcome lease_time_to_live(const pb::LeaseTimeToLiveResponse& response, bool) override {
    return print(response.header());
  }
  Outcome lease_list(const pb::LeaseLeasesResponse& response) override {
    return print(response.header());
  }
  Outcome member_list(const pb::MemberListResponse& response) override { return print(response); }
  Outcome alarm(const pb::AlarmResponse& response) override { return print(response); }
  Outcome plain(const PlainAnswer& answer) override { return print(answer.response); }
  Outcome endpoint_health(const std::vector<EndpointHealth>&) override {
    return unsupported("protobuf");
  }
  Outcome endpoint_status(const std::vector<EndpointStatus>&) override {
    return unsupported("protobuf");
  }
  Outcome endpoint_hash_kv(const std::vector<EndpointHashKv>&) override {
    return unsupported("protobuf");
  }

 private:
  Outcome print(const google::protobuf::Message& message) {
    output_.print(message.SerializeAsString());
    return {};
  }
};

}  // namespace

std::unique_ptr<Printer> make_table_printer(Output& output) {
  return std::make_unique<TablePrinter>(output);
}

std::unique_ptr<Printer> make_protobuf_printer(Output& output) {
  return std::make_unique<ProtobufPrinter>(output);
}

}  // namespace keelson::cmd::ctl
