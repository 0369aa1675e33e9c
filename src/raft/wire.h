// The values of types.h as etcd's bytes (package raftpb, proto2) and back. formats.md 0.2, 1.2, 6;
// raft.md 1.
//
// Written as etcd 3.7 writes: a field that was never set is left out, so a normal entry has no type
// and a zero in an entry or a message is absent, but HardState and ConfState carry all their
// scalars. Read as everybody wrote: absent is zero, unknown fields are skipped, a field given twice
// counts the last time, lists of ids may be packed, an empty snapshot in a message is none (3.5
// always sends one).
//
// Decoding never trusts a length and answers kMalformed to anything else that no etcd writes: a
// truncated field, a wrong wire type of a known field, an enumerator out of range, messages nested
// in messages (responses are local and never travel).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "raft/errc.h"
#include "raft/types.h"

namespace keelson::raft {

// The hot path: entries and the messages around them. Each encode_ appends to `out` exactly the
// bytes that encoded_size() said.
std::size_t encoded_size(const Entry& entry);
void encode(const Entry& entry, std::string& out);
// All but the payload, which the caller writes after it: a writer that gathers need not copy the
// data.
void encode_head(const Entry& entry, std::string& out);
// The entry's data is a slice of `bytes`, which lives as long as it does.
base::Result<Entry, Errc> decode_entry(const base::SharedBytes& bytes);

std::size_t encoded_size(const Message& message);
void encode(const Message& message, std::string& out);  // message.responses must be empty
// Data of entries and snapshot are slices of `bytes`.
base::Result<Message, Errc> decode_message(const base::SharedBytes& bytes);

// The rest.
std::string encode(const HardState& state);
base::Result<HardState, Errc> decode_hard_state(std::string_view bytes);

std::string encode(const Snapshot& snapshot);
base::Result<Snapshot, Errc> decode_snapshot(const base::SharedBytes& bytes);

std::string encode(const SnapshotMetadata& metadata);
base::Result<SnapshotMetadata, Errc> decode_snapshot_metadata(std::string_view bytes);

std::string encode(const ConfState& state);
base::Result<ConfState, Errc> decode_conf_state(std::string_view bytes);

std::string encode(const ConfChange& change);
base::Result<ConfChange, Errc> decode_conf_change(std::string_view bytes);

// Leaving a joint configuration (no changes, kAuto) is no bytes at all.
std::string encode(const ConfChangeV2& change);
base::Result<ConfChangeV2, Errc> decode_conf_change_v2(std::string_view bytes);

}  // namespace keelson::raft
