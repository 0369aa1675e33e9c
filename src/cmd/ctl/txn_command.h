// txn: a transaction written as text.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cmd/ctl/command.h"
#include "proto/rpc.pb.h"

namespace keelson::cmd::ctl {

// The three parts, each ended by an empty line. `read_line`: the next line without its newline;
// nullopt at the end of input, a last line without newline included. `prompts`: say what is wanted.
base::Result<etcdserverpb::TxnRequest, Exit> read_txn(
    Output& output, const std::function<std::optional<std::string>()>& read_line, bool prompts);

extern const Command kTxnCommand;

}  // namespace keelson::cmd::ctl
