// --write-out=json: one line for each answer. cli.md A4.3.
//
// etcdctl prints the structs of its client library; where these differ from the messages on the
// wire (watch, lease, txn, endpoints), the shapes are written out here.
#include <fmt/format.h>
#include <google/protobuf/reflection.h>

#include "base/go_text.h"
#include "cmd/ctl/json_message.h"
#include "cmd/ctl/printer.h"
#include "cmd/ctl/texts.h"

namespace keelson::cmd::ctl {
namespace {

std::string number(auto value) { return fmt::format("{}", value); }
std::string boolean(bool value) { return value ? "true" : "false"; }
std::string hex_string(std::uint64_t id) { return fmt::format("\"{:x}\"", id); }

std::string txn_text(const pb::TxnResponse& response);

std::string op_text(const pb::ResponseOp& op) {
  std::string out;
  {
    JsonWriter outer(out, '{', '}');
    JsonWriter inner(outer.key("Response"), '{', '}');
    if (op.has_response_range()) {
      inner.key("response_range") += json_text(op.response_range());
    } else if (op.has_response_put()) {
      inner.key("response_put") += json_text(op.response_put());
    } else if (op.has_response_delete_range()) {
      inner.key("response_delete_range") += json_text(op.response_delete_range());
    } else if (op.has_response_txn()) {
      inner.key("response_txn") += txn_text(op.response_txn());
    }
  }
  return out;
}

// A server bounds how deep txns nest, and so does the parser of protobuf.
std::string txn_text(const pb::TxnResponse& response) {
  std::string out;
  {
    JsonWriter object(out, '{', '}');
    if (response.has_header()) object.key("header") += json_text(response.header());
    if (response.succeeded()) object.key("succeeded") += "true";
    if (response.responses_size() > 0) {
      JsonWriter array(object.key("responses"), '[', ']');
      for (const pb::ResponseOp& op : response.responses()) array.element() += op_text(op);
    }
  }
  return out;
}

std::string hex_header(const pb::ResponseHeader& header) {
  std::string out;
  {
    JsonWriter object(out, '{', '}');
    object.key("cluster_id") += hex_string(header.cluster_id());
    object.key("member_id") += hex_string(header.member_id());
    if (header.revision() != 0) object.key("revision") += number(header.revision());
    if (header.raft_term() != 0) object.key("raft_term") += number(header.raft_term());
  }
  return out;
}

std::string hex_member(pb::Member member) {
  const std::uint64_t id = member.id();
  member.clear_id();
  std::string out;
  {
    JsonWriter object(out, '{', '}');
    object.key("ID") += hex_string(id);
    object.fields_of(member);
  }
  return out;
}

// An answer with `members`, ids in hexadecimal. `one`: the member it is about, if it has that.
std::string hex_text(const google::protobuf::Message& response, const pb::ResponseHeader& header,
                     const pb::Member* one) {
  const auto& from = *response.GetReflection();
  const auto* members = response.GetDescriptor()->FindFieldByName("members");
  std::string out;
  {
    JsonWriter object(out, '{', '}');
    object.key("header") += hex_header(header);
    if (one != nullptr) object.key("member") += hex_member(*one);
    JsonWriter array(object.key("members"), '[', ']');
    for (const pb::Member& member : from.GetRepeatedFieldRef<pb::Member>(response, members)) {
      array.element() += hex_member(member);
    }
  }
  return out;
}

class JsonPrinter final : public Printer {
 public:
  JsonPrinter(Output& output, bool hex) : Printer(output), hex_(hex) {}

  Outcome put(const pb::PutResponse& response) override { return print(json_text(response)); }
  Outcome get(const pb::RangeResponse& response) override { return print(json_text(response)); }
  Outcome del(const pb::DeleteRangeResponse& response) override {
    return print(json_text(response));
  }
  Outcome txn(const pb::TxnResponse& response) override { return print(txn_text(response)); }
  Outcome watch(const pb::WatchResponse& response) override {
    std::string out;
    {
      JsonWriter object(out, '{', '}');
      object.key("Header") += json_text(response.header());
      std::string& after_events = object.key("Events");
      if (response.canceled()) {  // Go's nil slice
        after_events += "null";
      } else {
        JsonWriter events(after_events, '[', ']');
        for (const auto& event : response.events()) events.element() += json_text(event);
      }
      object.key("CompactRevision") += number(response.compact_revision());
      object.key("Canceled") += boolean(response.canceled());
      object.key("Created") += boolean(response.created());
      object.key("CancelReason") += base::json_string(response.cancel_reason());
    }
    return print(std::move(out));
  }

  Outcome lease_grant(const pb::LeaseGrantResponse& response) override {
    return inlined(response.header(), [&](JsonWriter& object) {
      object.key("ID") += number(response.id());
      object.key("TTL") += number(response.ttl());
      object.key("Error") += base::json_string(response.error());
    });
  }
  Outcome lease_revoke(std::int64_t, const pb::LeaseRevokeResponse& response) override {
    return print(json_text(response));
  }
  Outcome lease_keep_alive(const pb::LeaseKeepAliveResponse& response) override {
    return inlined(response.header(), [&](JsonWriter& object) {
      object.key("ID") += number(response.id());
      object.key("TTL") += number(response.ttl());
    });
  }
  Outcome lease_time_to_live(const pb::LeaseTimeToLiveResponse& response, bool) override {
    return inlined(response.header(), [&](JsonWriter& object) {
      object.key("id") += number(response.id());
      object.key("ttl") += number(response.ttl());
      object.key("granted-ttl") += number(response.grantedttl());
      std::string& out = object.key("keys");
      if (response.keys_size() == 0) {
        out += "null";
        return;
      }
      JsonWriter array(out, '[', ']');
      for (const std::string& key : response.keys()) array.element() += '"' + base64(key) + '"';
    });
  }
  Outcome lease_list(const pb::LeaseLeasesResponse& response) override {
    return inlined(response.header(), [&](JsonWriter& object) {
      JsonWriter array(object.key("leases"), '[', ']');
      for (const auto& lease : response.leases()) {
        JsonWriter(array.element(), '{', '}').key("id") += number(lease.id());
      }
    });
  }

  Outcome member_list(const pb::MemberListResponse& response) override {
    return print(hex_ ? hex_text(response, response.header(), nullptr) : json_text(response));
  }
  Outcome alarm(const pb::AlarmResponse& response) override { return print(json_text(response)); }

  // --hex makes a difference for answers about members only.
  Outcome plain(const PlainAnswer& answer) override {
    const auto* add = dynamic_cast<const pb::MemberAddResponse*>(&answer.response);
    const bool about_members =
        answer.response.GetDescriptor()->FindFieldByName("members") != nullptr;
    if (!hex_ || !about_members) return print(json_text(answer.response));
    return print(
        hex_text(answer.response, answer.header, add != nullptr ? &add->member() : nullptr));
  }
  Outcome endpoint_health(const std::vector<EndpointHealth>& all) override {
    return list(all, [](JsonWriter& object, const EndpointHealth& one) {
      object.key("endpoint") += base::json_string(one.endpoint);
      object.key("health") += boolean(one.health);
      object.key("took") += base::json_string(one.took);
      if (!one.error.empty()) object.key("error") += base::json_string(one.error);
    });
  }
  Outcome endpoint_status(const std::vector<EndpointStatus>& all) override {
    return list(all, [](JsonWriter& object, const EndpointStatus& one) {
      object.key("Endpoint") += base::json_string(one.endpoint);
      object.key("Status") += json_text(one.response);
    });
  }
  Outcome endpoint_hash_kv(const std::vector<EndpointHashKv>& all) override {
    return list(all, [](JsonWriter& object, const EndpointHashKv& one) {
      object.key("Endpoint") += base::json_string(one.endpoint);
      object.key("HashKV") += json_text(one.response);
    });
  }

 private:
  Outcome print(std::string text) {
    output_.print_line(text);
    return {};
  }
  // An object that begins with the header's fields.
  Outcome inlined(const pb::ResponseHeader& header, auto write_rest) {
    std::string out;
    {
      JsonWriter object(out, '{', '}');
      object.fields_of(header);
      write_rest(object);
    }
    return print(std::move(out));
  }
  // Go's nil slice is null.
  template <class One>
  Outcome list(const std::vector<One>& all, auto write) {
    if (all.empty()) return print("null");
    std::string out;
    {
      JsonWriter array(out, '[', ']');
      for (const One& one : all) {
        JsonWriter object(array.element(), '{', '}');
        write(object, one);
      }
    }
    return print(std::move(out));
  }

  const bool hex_;
};

}  // namespace

std::unique_ptr<Printer> make_json_printer(Output& output, bool hex) {
  return std::make_unique<JsonPrinter>(output, hex);
}

}  // namespace keelson::cmd::ctl
