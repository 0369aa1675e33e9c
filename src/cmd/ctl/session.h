// Session: what the flags that every command takes amount to: a client, a format, a timeout. cli.md
// A1.
//
// Global flags may come from the environment (ETCDCTL_DIAL_TIMEOUT); one given both ways is an
// error, an unknown ETCDCTL_ variable a warning. etcdctl reads them only once it opens a client, so
// what a command checks before comes first, and `version` ignores them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client/blocking.h"
#include "client/status_text.h"
#include "cmd/ctl/command.h"
#include "cmd/ctl/printer.h"

namespace keelson::cmd::ctl {

std::span<const FlagSpec> global_flags();

class Session {
 public:
  static base::Result<std::unique_ptr<Session>, Exit> open(Invocation& invocation);

  // Over all endpoints; made at the first call.
  base::Result<client::Blocking*, Exit> client();
  // Over one. From any thread.
  base::Result<std::unique_ptr<client::Blocking>, Exit> client_of(const std::string& endpoint,
                                                                  std::string_view logger);

  const std::vector<std::string>& endpoints() const { return options_.endpoints; }
  base::Duration command_timeout() const { return command_timeout_; }
  Printer& printer() { return *printer_; }
  const std::string& format() const { return format_; }
  bool hex() const { return hex_; }
  Output& output() { return output_; }
  const std::vector<std::string>& environment() const { return environment_; }

  // Calls, and prints an answer that is little more than a header. nullopt as the timeout: as long
  // as it takes.
  template <class Method>
  Outcome call_and_print(const Method& rpc, const typename Method::Request& request,
                         client::Blocking::Timeout timeout, std::string simple,
                         std::optional<std::string> fields) {
    ASSIGN_OR_RETURN(const auto response, call_within(rpc, request, timeout, kExitError));
    return printer_->plain({response, response.header(), std::move(simple), std::move(fields)});
  }

  // Calls over all endpoints within the command's timeout; the error is exit 1 with the text of the
  // client library.
  template <class Method>
  base::Result<typename Method::Response, Exit> call(const Method& rpc,
                                                     const typename Method::Request& request) {
    return call_within(rpc, request, command_timeout_, kExitError);
  }
  template <class Method>
  base::Result<typename Method::Response, Exit> call_within(const Method& rpc,
                                                            const typename Method::Request& request,
                                                            client::Blocking::Timeout timeout,
                                                            int exit_code) {
    ASSIGN_OR_RETURN(client::Blocking * over, client());
    auto response = over->call(rpc, request, timeout);
    if (response) return *std::move(response);
    return exit_with(exit_code, client::error_text(response.error()));
  }

 private:
  explicit Session(Invocation& invocation)
      : output_(invocation.output), environment_(invocation.environment) {}

  Outcome read_environment(Invocation& invocation);
  Outcome read_flags(const Flags& flags);
  Outcome read_security(const Flags& flags);
  Outcome read_authentication(const Flags& flags);
  base::Result<std::unique_ptr<client::Blocking>, Exit> connect(client::Options options,
                                                                std::string_view logger);
  Outcome authenticate(client::Options& options);

  Output& output_;
  const std::vector<std::string> environment_;
  client::Options options_;
  base::Duration command_timeout_{};
  std::string format_;
  bool hex_ = false;
  bool tls_wanted_ = false;
  std::string user_, password_;
  std::unique_ptr<Printer> printer_;
  std::unique_ptr<client::Blocking> client_;
};

// The last value of a variable; empty if there is none.
std::string environment_value(const std::vector<std::string>& environment, std::string_view name);

}  // namespace keelson::cmd::ctl
