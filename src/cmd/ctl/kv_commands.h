// put, get, del, compaction; and the requests of the first three, which txn makes too. cli.md A5.
#pragma once

#include <functional>
#include <string>

#include "cmd/ctl/command.h"
#include "proto/rpc.pb.h"

namespace keelson::cmd::ctl {

namespace pb = etcdserverpb;

// What a command needs besides its flags.
struct RequestContext {
  Output& output;
  // The whole of stdin.
  std::function<std::string()> read_input;
  // Before a deletion nobody has confirmed: two seconds in which it can be interrupted.
  std::function<void()> wait_for_second_thoughts;
};

base::Result<pb::PutRequest, Exit> put_request(const Flags& flags, const RequestContext& context);
base::Result<pb::RangeRequest, Exit> range_request(const Flags& flags);
base::Result<pb::DeleteRangeRequest, Exit> delete_request(const Flags& flags,
                                                          const RequestContext& context);

RequestContext standard_context(Output& output);

// "s" or "l".
base::Result<bool, Exit> is_serializable(std::string_view consistency);

// The end of the range of all keys that begin so: one past the last; "\0" if there is no end.
std::string prefix_end(std::string_view prefix);

extern const Command kPutCommand, kGetCommand, kDelCommand, kCompactionCommand;

}  // namespace keelson::cmd::ctl
