#include "cmd/ctl/txn_command.h"

#include "cmd/ctl/input.h"
#include "cmd/ctl/session.h"
#include "cmd/ctl/txn_text.h"

namespace keelson::cmd::ctl {
namespace {

// Lines up to an empty one, each given to `take`.
Outcome read_part(Output& output, const std::function<std::optional<std::string>()>& read_line,
                  std::string_view prompt, const std::function<Outcome(std::string_view)>& take) {
  if (!prompt.empty()) {
    output.print_line(prompt);
    output.flush();
  }
  while (true) {
    const auto line = read_line();
    if (!line) return exit_with(kExitInvalidInput, "EOF");
    const std::string_view text = trim_space(*line);
    if (text.empty()) return {};
    RETURN_IF_ERROR(take(text));
  }
}

}  // namespace

base::Result<pb::TxnRequest, Exit> read_txn(
    Output& output, const std::function<std::optional<std::string>()>& read_line, bool prompts) {
  pb::TxnRequest request;
  const RequestContext context = standard_context(output);
  const auto prompt = [&](std::string_view text) { return prompts ? text : std::string_view(); };
  RETURN_IF_ERROR(read_part(output, read_line, prompt("compares:"), [&](auto line) -> Outcome {
    ASSIGN_OR_RETURN(*request.add_compare(), parse_compare(line));
    return {};
  }));
  RETURN_IF_ERROR(read_part(
      output, read_line, prompt("success requests (get, put, del):"), [&](auto line) -> Outcome {
        ASSIGN_OR_RETURN(*request.add_success(), parse_request(line, context));
        return {};
      }));
  RETURN_IF_ERROR(read_part(
      output, read_line, prompt("failure requests (get, put, del):"), [&](auto line) -> Outcome {
        ASSIGN_OR_RETURN(*request.add_failure(), parse_request(line, context));
        return {};
      }));
  return request;
}

namespace {

Outcome run_txn(Invocation& invocation) {
  if (!invocation.arguments().empty()) {
    return exit_with(kExitBadArguments, "txn command does not accept argument");
  }
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  RETURN_IF_ERROR(session->client());
  ASSIGN_OR_RETURN(const auto request, read_txn(invocation.output, read_input_line,
                                                invocation.flags.flag("interactive")));
  ASSIGN_OR_RETURN(const auto response,
                   session->call_within(client::kTxn, request, std::nullopt, kExitError));
  return session->printer().txn(response);
}

constexpr FlagSpec kTxnFlags[] = {
    {"interactive", FlagKind::kBool, "", "say what is wanted next", 'i'},
};

}  // namespace

constinit const Command kTxnCommand = {
    .use = "txn [options]",
    .summary = "Runs a transaction read from standard input",
    .description = R"(Runs a transaction read from standard input.

It has three parts, each ended by an empty line:
1) comparisons: ver, create, mod, val or lease of a key,
2) requests for when all of them hold,
3) requests for when one does not.

mod("key1") > "0"

put key1 "there already"

put key1 "new"
put key2 "new, too"
)",
    .group = Group::kKeyValue,
    .flags = kTxnFlags,
    .run = run_txn,
};

}  // namespace keelson::cmd::ctl
