// The text of a txn: words of a line, comparisons, requests. cli.md A5, txn.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/outcome.h"
#include "proto/rpc.pb.h"

namespace keelson::cmd::ctl {

// The words of a line: "..." with Go's escapes, '...' as it stands, else up to white space. A bad
// escape is exit 3, "invalid syntax".
base::Result<std::vector<std::string>, Exit> split_words(std::string_view line);

// `mod("key") > "0"`
base::Result<pb::Compare, Exit> parse_compare(std::string_view line);

// `put key "value"`: a command line of put, get or del.
base::Result<pb::RequestOp, Exit> parse_request(std::string_view line,
                                                const RequestContext& context);

}  // namespace keelson::cmd::ctl
