#include "cmd/ctl/watch_command.h"

#include <fmt/format.h>

#include <cstdlib>
#include <future>

#include "base/go_text.h"
#include "client/watcher.h"
#include "cmd/ctl/child.h"
#include "cmd/ctl/input.h"
#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/session.h"
#include "cmd/ctl/txn_text.h"

namespace keelson::cmd::ctl {
namespace {

constexpr std::string_view kBadNumber = "bad number of arguments";

std::unexpected<Exit> bad_number(std::string_view more) {
  return exit_with(kExitBadArguments, std::string(kBadNumber).append(more));
}

}  // namespace

base::Result<WatchPlan, Exit> plan_watch(const Flags& flags, const std::string& key,
                                         const std::string& range_end) {
  std::vector<std::string> keys = flags.arguments();
  WatchPlan plan;
  if (const auto count = flags.arguments_before_dash()) {
    plan.command.assign(keys.begin() + static_cast<std::ptrdiff_t>(*count), keys.end());
    keys.resize(*count);
    if (plan.command.empty()) return bad_number(" (found separator --, but no commands)");
  }
  if (!key.empty()) {
    if (!keys.empty()) return bad_number(" (found conflicting environment key)");
    keys = {key};
    if (!range_end.empty()) keys.push_back(range_end);
  }
  if (keys.empty()) return bad_number("");
  const bool prefix = flags.flag("prefix");
  if (keys.size() == 2 && prefix) {
    return exit_with(kExitBadArguments, "`range_end` and `--prefix` are mutually exclusive");
  }
  plan.request.set_key(keys[0]);
  if (keys.size() == 2) plan.request.set_range_end(keys[1]);
  if (prefix && keys[0].empty()) plan.request.set_key(std::string(1, '\0'));
  if (prefix) plan.request.set_range_end(prefix_end(keys[0]));
  plan.request.set_start_revision(flags.number("rev"));
  plan.request.set_prev_kv(flags.flag("prev-kv"));
  plan.request.set_progress_notify(flags.flag("progress-notify"));
  return plan;
}

namespace {

// One watch: prints what comes, runs the command for each event. A job of the client's lane, which
// the command therefore holds up: events wait at the server until it has run.
class PrintEvents final : public client::WatchHandler {
 public:
  PrintEvents(Session& session, std::vector<std::string> command)
      : session_(session), command_(std::move(command)) {}

  void on_response(pb::WatchResponse response) override {
    if (response.events_size() == 0) {
      session_.output().print_line(
          fmt::format("progress notify: {}", response.header().revision()));
    }
    show(response);
    if (command_.empty()) return;
    for (const auto& event : response.events()) run(response.header().revision(), event);
  }
  void on_end(client::WatchEnd end) override {
    session_.output().complain(
        fmt::format("watch was canceled ({})\n", client::error_text(end.status)));
    end.response.set_canceled(true);
    show(end.response);
    over_.set_value();
  }
  void wait() { over_.get_future().wait(); }

 private:
  void show(const pb::WatchResponse& response) {
    const Outcome printed = session_.printer().watch(response);
    session_.output().flush();
    if (printed) return;
    session_.output().complain(fmt::format("Error: {}\n", printed.error().text));
    std::_Exit(printed.error().code);
  }

  void run(std::int64_t revision, const mvccpb::Event& event) {
    std::vector<std::string> environment = session_.environment();
    environment.push_back(fmt::format("ETCD_WATCH_REVISION={}", revision));
    environment.push_back(fmt::format("ETCD_WATCH_EVENT_TYPE={}",
                                      base::quote(mvccpb::Event_EventType_Name(event.type()))));
    environment.push_back(fmt::format("ETCD_WATCH_KEY={}", base::quote(event.kv().key())));
    environment.push_back(fmt::format("ETCD_WATCH_VALUE={}", base::quote(event.kv().value())));
    const auto ran = run_child(command_, environment);
    if (ran) return;
    session_.output().complain(
        fmt::format("command {} error ({})\n", base::quote(command_), ran.error()));
    std::_Exit(kExitError);
  }

  Session& session_;
  const std::vector<std::string> command_;
  std::promise<void> over_;
};

// The watches of the process. They last as long as it does.
class Watches {
 public:
  Watches(Session& session, client::Blocking& over) : session_(session), over_(over) {
    over_.run([&](client::Client& client) { watcher_.emplace(client); });
  }
  ~Watches() {
    over_.run([&](client::Client&) {
      watches_.clear();
      watcher_.reset();
    });
  }

  PrintEvents& begin(WatchPlan plan) {
    handlers_.push_back(std::make_unique<PrintEvents>(session_, std::move(plan.command)));
    over_.run([&](client::Client&) {
      watches_.push_back(watcher_->watch(std::move(plan.request), *handlers_.back()));
    });
    return *handlers_.back();
  }
  void request_progress() {
    over_.run([&](client::Client&) { watcher_->request_progress(); });
  }

 private:
  Session& session_;
  client::Blocking& over_;
  std::optional<client::Watcher> watcher_;
  std::vector<std::unique_ptr<PrintEvents>> handlers_;
  std::vector<std::unique_ptr<client::Watch>> watches_;
};

constexpr FlagSpec kWatchFlags[] = {
    {"interactive", FlagKind::kBool, "", "read what to watch from standard input", 'i'},
    {"prefix", FlagKind::kBool, "", "all keys that begin so"},
    {"prev-kv", FlagKind::kBool, "", "show what was there before each event"},
    {"progress-notify", FlagKind::kBool, "",
     "have the server say how far it is when nothing happens"},
    {"rev", FlagKind::kInt, "0", "from this revision on (0: from now on)"},
};

struct FromEnvironment {
  std::string key, range_end;
};

// A line of an interactive watch.
Outcome take_line(const std::string& line, const FromEnvironment& from, Watches& watches,
                  Output& output) {
  ASSIGN_OR_RETURN(const auto words, split_words(line));
  const auto invalid = [&](std::string_view format, std::string_view why) -> Outcome {
    output.complain(fmt::format("Invalid command{} {} ({})\n", format, line, why));
    return {};
  };
  if (words.empty()) return invalid(":", "watch and progress supported");
  if (words[0] == "progress") {
    watches.request_progress();
    return {};
  }
  if (words[0] != "watch") return invalid("", "only support watch");
  if (words.size() < 2 && from.key.empty()) {
    return invalid("", "command type or key is not provided");
  }
  Flags flags;
  flags.add(kWatchFlags);
  if (auto parsed = flags.parse({words.begin() + 1, words.end()}); !parsed) {
    return exit_with(kExitBadArguments, parsed.error());
  }
  auto plan = plan_watch(flags, from.key, from.range_end);
  if (!plan) {
    if (!plan.error().text.starts_with(kBadNumber)) return invalid("", plan.error().text);
    return base::fail(plan.error());
  }
  watches.begin(*std::move(plan));
  return {};
}

Outcome watch_lines(Session& session, client::Blocking& over, const FromEnvironment& from) {
  Watches watches(session, over);
  while (true) {
    const auto line = read_input_line();
    if (!line) {
      return exit_with(kExitInvalidInput, "error reading watch request line: EOF");
    }
    RETURN_IF_ERROR(take_line(*line, from, watches, session.output()));
  }
}

Outcome run_watch(Invocation& invocation) {
  const FromEnvironment from{environment_value(invocation.environment, "ETCDCTL_WATCH_KEY"),
                             environment_value(invocation.environment, "ETCDCTL_WATCH_RANGE_END")};
  if (from.key.empty() && !from.range_end.empty()) {
    return exit_with(kExitBadArguments,
                     fmt::format("ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={}",
                                 base::quote(from.range_end)));
  }
  const bool interactive = invocation.flags.flag("interactive");
  WatchPlan plan;
  if (!interactive) {
    ASSIGN_OR_RETURN(plan, plan_watch(invocation.flags, from.key, from.range_end));
  }
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(client::Blocking * over, session->client());
  if (interactive) return watch_lines(*session, *over, from);
  Watches watches(*session, *over);
  watches.begin(std::move(plan)).wait();
  return exit_with(kExitInterrupted, "watch is canceled by the server");
}

}  // namespace

constinit const Command kWatchCommand = {
    .use = "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    .summary = "Shows changes of keys as they happen",
    .description = "",
    .group = Group::kKeyValue,
    .flags = kWatchFlags,
    .run = run_watch,
};

}  // namespace keelson::cmd::ctl
