#include "raft/wire.h"

#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/field_reader.h"
#include "base/varint.h"
#include "proto/raft.pb.h"

namespace keelson::raft {
namespace {

using base::bytes_tag;
using base::Field;
using base::FieldReader;
using base::put_varints;
using base::varint_tag;

template <class T = void>
using WireResult = base::Result<T, Errc>;

constexpr auto kMalformed = Errc::kMalformed;

// A slice of `whole` that `part` names.
base::SharedBytes share(const base::SharedBytes& whole, std::string_view part) {
  return whole.slice(static_cast<std::size_t>(part.data() - whole.data()), part.size());
}

void put_present_varint(std::string& out, std::uint32_t field, std::uint64_t value) {
  put_varints(out, varint_tag(field), value);
}

template <class Proto>
WireResult<Proto> parse(std::string_view bytes) {
  Proto message;
  if (bytes.size() > std::numeric_limits<int>::max() ||
      !message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return base::fail(kMalformed);
  }
  return message;
}

// An enumerator out of range is an unknown field to proto2: it must not read as zero, which adds a
// node.
bool has_unknown_field(const google::protobuf::Message& message, int number) {
  const auto& unknown = message.GetReflection()->GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); i++) {
    if (unknown.field(i).number() == number) return true;
  }
  return false;
}

// --- ConfState and the metadata around it: rare, so by generated code

void to_proto(const ConfState& from, raftpb::ConfState& to) {
  to.mutable_voters()->Assign(from.voters.begin(), from.voters.end());
  to.mutable_learners()->Assign(from.learners.begin(), from.learners.end());
  to.mutable_voters_outgoing()->Assign(from.voters_outgoing.begin(), from.voters_outgoing.end());
  to.mutable_learners_next()->Assign(from.learners_next.begin(), from.learners_next.end());
  to.set_auto_leave(from.auto_leave);
}

ConfState from_proto(const raftpb::ConfState& from) {
  return {.voters = {from.voters().begin(), from.voters().end()},
          .learners = {from.learners().begin(), from.learners().end()},
          .voters_outgoing = {from.voters_outgoing().begin(), from.voters_outgoing().end()},
          .learners_next = {from.learners_next().begin(), from.learners_next().end()},
          .auto_leave = from.auto_leave()};
}

void to_proto(const SnapshotMetadata& from, raftpb::SnapshotMetadata& to) {
  to_proto(from.conf_state, *to.mutable_conf_state());
  to.set_index(from.index);
  to.set_term(from.term);
}

SnapshotMetadata from_proto(const raftpb::SnapshotMetadata& from) {
  return {.conf_state = from_proto(from.conf_state()), .index = from.index(), .term = from.term()};
}

// --- Message

// Everything of a message but entries and snapshot, zeros left out; the type is always there.
void put_scalars_before_entries(const Message& message, std::string& out) {
  put_present_varint(out, 1, static_cast<std::uint64_t>(message.type));
  base::put_varint_field(out, 2, message.to);
  base::put_varint_field(out, 3, message.from);
  base::put_varint_field(out, 4, message.term);
  base::put_varint_field(out, 5, message.log_term);
  base::put_varint_field(out, 6, message.index);
}

void put_scalars_after_snapshot(const Message& message, std::string& out) {
  base::put_varint_field(out, 10, message.reject ? 1 : 0);
  base::put_varint_field(out, 11, message.reject_hint);
  base::put_bytes_field(out, 12, message.context);
  base::put_varint_field(out, 13, message.vote);
}

std::size_t scalars_size(const Message& message) {
  return 1 + base::varint_size(static_cast<std::uint64_t>(message.type)) +
         base::varint_field_size(2, message.to) + base::varint_field_size(3, message.from) +
         base::varint_field_size(4, message.term) + base::varint_field_size(5, message.log_term) +
         base::varint_field_size(6, message.index) + base::varint_field_size(8, message.commit) +
         base::varint_field_size(10, message.reject ? 1 : 0) +
         base::varint_field_size(11, message.reject_hint) +
         base::bytes_field_size(12, message.context.size()) +
         base::varint_field_size(13, message.vote);
}

WireResult<> take_scalar(Message& message, const Field& field) {
  switch (field.number) {
    case 1:
      if (field.value > static_cast<std::uint64_t>(MessageType::kForgetLeader)) {
        return base::fail(kMalformed);
      }
      message.type = static_cast<MessageType>(field.value);
      return {};
    case 2:
      message.to = field.value;
      return {};
    case 3:
      message.from = field.value;
      return {};
    case 4:
      message.term = field.value;
      return {};
    case 5:
      message.log_term = field.value;
      return {};
    case 6:
      message.index = field.value;
      return {};
    case 8:
      message.commit = field.value;
      return {};
    case 10:
      message.reject = field.value != 0;
      return {};
    case 11:
      message.reject_hint = field.value;
      return {};
    case 13:
      message.vote = field.value;
      return {};
    default:
      return {};
  }
}

WireResult<> take_bytes(Message& message, const Field& field, const base::SharedBytes& whole) {
  switch (field.number) {
    case 7: {
      ASSIGN_OR_RETURN(auto entry, decode_entry(share(whole, field.bytes)));
      message.entries.push_back(std::move(entry));
      return {};
    }
    case 9: {
      ASSIGN_OR_RETURN(auto snapshot, decode_snapshot(share(whole, field.bytes)));
      if (!snapshot.empty()) message.snapshot = std::move(snapshot);
      return {};
    }
    case 12:
      message.context = field.bytes;
      return {};
    case 14:
      return base::fail(kMalformed);
    default:
      return {};
  }
}

// Does this field of a message carry bytes? nullopt: we do not know it.
std::optional<bool> message_field_is_bytes(std::uint32_t number) {
  if (number == 0 || number > 14) return std::nullopt;
  return number == 7 || number == 9 || number == 12 || number == 14;
}

}  // namespace

// --- Entry

std::size_t encoded_size(const Entry& entry) {
  return base::varint_field_size(1, static_cast<std::uint64_t>(entry.type)) +
         base::varint_field_size(2, entry.term) + base::varint_field_size(3, entry.index) +
         base::bytes_field_size(4, entry.data.size());
}

void encode_head(const Entry& entry, std::string& out) {
  base::put_varint_field(out, 1, static_cast<std::uint64_t>(entry.type));
  base::put_varint_field(out, 2, entry.term);
  base::put_varint_field(out, 3, entry.index);
  if (entry.data.empty()) return;
  put_varints(out, bytes_tag(4), entry.data.size());
}

void encode(const Entry& entry, std::string& out) {
  encode_head(entry, out);
  out.append(entry.data.view());
}

base::Result<Entry, Errc> decode_entry(const base::SharedBytes& bytes) {
  Entry entry;
  FieldReader fields(bytes);
  while (const auto field = fields.next()) {
    if (field->number > 4) continue;
    if (field->is_bytes != (field->number == 4)) return base::fail(kMalformed);
    switch (field->number) {
      case 1:
        if (field->value > static_cast<std::uint64_t>(EntryType::kConfChangeV2)) {
          return base::fail(kMalformed);
        }
        entry.type = static_cast<EntryType>(field->value);
        break;
      case 2:
        entry.term = field->value;
        break;
      case 3:
        entry.index = field->value;
        break;
      default:
        entry.data = share(bytes, field->bytes);
    }
  }
  if (fields.malformed()) return base::fail(kMalformed);
  return entry;
}

// --- Message

std::size_t encoded_size(const Message& message) {
  std::size_t size = scalars_size(message);
  for (const Entry& entry : message.entries) {
    size += base::message_field_size(7, encoded_size(entry));
  }
  if (message.snapshot) size += base::message_field_size(9, encode(*message.snapshot).size());
  return size;
}

void encode(const Message& message, std::string& out) {
  CHECK(message.responses.empty());
  put_scalars_before_entries(message, out);
  for (const Entry& entry : message.entries) {
    put_varints(out, bytes_tag(7), encoded_size(entry));
    encode(entry, out);
  }
  base::put_varint_field(out, 8, message.commit);
  if (message.snapshot) base::put_message_field(out, 9, encode(*message.snapshot));
  put_scalars_after_snapshot(message, out);
}

base::Result<Message, Errc> decode_message(const base::SharedBytes& bytes) {
  Message message;
  FieldReader fields(bytes);
  while (const auto field = fields.next()) {
    const auto is_bytes = message_field_is_bytes(field->number);
    if (!is_bytes) continue;
    if (*is_bytes != field->is_bytes) return base::fail(kMalformed);
    if (field->is_bytes) {
      RETURN_IF_ERROR(take_bytes(message, *field, bytes));
    } else {
      RETURN_IF_ERROR(take_scalar(message, *field));
    }
  }
  if (fields.malformed()) return base::fail(kMalformed);
  return message;
}

// --- the rest

std::string encode(const HardState& state) {
  std::string out;
  put_present_varint(out, 1, state.term);
  put_present_varint(out, 2, state.vote);
  put_present_varint(out, 3, state.commit);
  return out;
}

base::Result<HardState, Errc> decode_hard_state(std::string_view bytes) {
  HardState state;
  FieldReader fields(bytes);
  while (const auto field = fields.next()) {
    if (field->number > 3) continue;
    if (field->is_bytes) return base::fail(kMalformed);
    if (field->number == 1) state.term = field->value;
    if (field->number == 2) state.vote = field->value;
    if (field->number == 3) state.commit = field->value;
  }
  if (fields.malformed()) return base::fail(kMalformed);
  return state;
}

std::string encode(const Snapshot& snapshot) {
  std::string out;
  base::put_bytes_field(out, 1, snapshot.data);
  base::put_message_field(out, 2, encode(snapshot.metadata));
  return out;
}

base::Result<Snapshot, Errc> decode_snapshot(const base::SharedBytes& bytes) {
  Snapshot snapshot;
  FieldReader fields(bytes);
  while (const auto field = fields.next()) {
    if (field->number > 2) continue;
    if (!field->is_bytes) return base::fail(kMalformed);
    if (field->number == 1) {
      snapshot.data = share(bytes, field->bytes);
    } else {
      ASSIGN_OR_RETURN(snapshot.metadata, decode_snapshot_metadata(field->bytes));
    }
  }
  if (fields.malformed()) return base::fail(kMalformed);
  return snapshot;
}

std::string encode(const SnapshotMetadata& metadata) {
  raftpb::SnapshotMetadata message;
  to_proto(metadata, message);
  return message.SerializeAsString();
}

base::Result<SnapshotMetadata, Errc> decode_snapshot_metadata(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto message, parse<raftpb::SnapshotMetadata>(bytes));
  return from_proto(message);
}

std::string encode(const ConfState& state) {
  raftpb::ConfState message;
  to_proto(state, message);
  return message.SerializeAsString();
}

base::Result<ConfState, Errc> decode_conf_state(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto message, parse<raftpb::ConfState>(bytes));
  return from_proto(message);
}

std::string encode(const ConfChange& change) {
  raftpb::ConfChange message;
  message.set_id(change.id);
  message.set_type(static_cast<raftpb::ConfChangeType>(change.type));
  message.set_node_id(change.node_id);
  if (!change.context.empty()) message.set_context(change.context);
  return message.SerializeAsString();
}

base::Result<ConfChange, Errc> decode_conf_change(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto message, parse<raftpb::ConfChange>(bytes));
  if (has_unknown_field(message, 2)) return base::fail(kMalformed);
  return ConfChange{.id = message.id(),
                    .type = static_cast<ConfChangeType>(message.type()),
                    .node_id = message.node_id(),
                    .context = message.context()};
}

std::string encode(const ConfChangeV2& change) {
  raftpb::ConfChangeV2 message;
  if (change.transition != ConfChangeTransition::kAuto) {
    message.set_transition(static_cast<raftpb::ConfChangeTransition>(change.transition));
  }
  for (const ConfChangeSingle& single : change.changes) {
    auto* to = message.add_changes();
    to->set_type(static_cast<raftpb::ConfChangeType>(single.type));
    to->set_node_id(single.node_id);
  }
  if (!change.context.empty()) message.set_context(change.context);
  return message.SerializeAsString();
}

base::Result<ConfChangeV2, Errc> decode_conf_change_v2(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto message, parse<raftpb::ConfChangeV2>(bytes));
  if (has_unknown_field(message, 1)) return base::fail(kMalformed);
  ConfChangeV2 change{
      .transition = static_cast<ConfChangeTransition>(message.transition()),
      .context = message.context(),
  };
  for (const auto& single : message.changes()) {
    if (has_unknown_field(single, 1)) return base::fail(kMalformed);
    change.changes.push_back(
        {.type = static_cast<ConfChangeType>(single.type()), .node_id = single.node_id()});
  }
  return change;
}

}  // namespace keelson::raft
