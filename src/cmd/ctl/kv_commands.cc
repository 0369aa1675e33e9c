#include "cmd/ctl/kv_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <iostream>
#include <iterator>
#include <thread>

#include "base/go_text.h"
#include "cmd/ctl/input.h"
#include "cmd/ctl/session.h"

namespace keelson::cmd::ctl {
namespace {

constexpr std::string_view kPutArguments =
    "put command needs 1 argument and input from stdin or 2 arguments";
constexpr std::string_view kPrefixAndFromKey =
    "`--prefix` and `--from-key` cannot be set at the same time, choose one";
constexpr std::string_view kOneArgumentOnly =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
constexpr std::string_view kNul("\0", 1);

std::unexpected<Exit> bad_arguments(std::string_view text) {
  return exit_with(kExitBadArguments, std::string(text));
}

// What --prefix and --from-key make of a key. An empty key stands for the first there can be.
template <class Request>
void set_range(Request& request, const Flags& flags) {
  const bool prefix = flags.flag("prefix"), from_key = flags.flag("from-key");
  if (!prefix && !from_key) return;
  if (request.key().empty()) {
    request.set_key(std::string(kNul));
    request.set_range_end(std::string(kNul));
  } else {
    request.set_range_end(prefix ? prefix_end(request.key()) : std::string(kNul));
  }
}

}  // namespace

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xFF') end.pop_back();
  if (end.empty()) return std::string(kNul);
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

base::Result<bool, Exit> is_serializable(std::string_view consistency) {
  if (consistency == "s") return true;
  if (consistency == "l") return false;
  return exit_with(kExitBadFeature,
                   fmt::format("unknown consistency flag {}", base::quote(consistency)));
}

RequestContext standard_context(Output& output) {
  return {output,
          [] {
            return std::string(std::istreambuf_iterator<char>(std::cin),
                               std::istreambuf_iterator<char>());
          },
          [] { std::this_thread::sleep_for(std::chrono::seconds(2)); }};
}

// put --------------------------------------------------------------------------------------------

base::Result<pb::PutRequest, Exit> put_request(const Flags& flags, const RequestContext& context) {
  const auto& arguments = flags.arguments();
  if (arguments.empty()) return bad_arguments(kPutArguments);
  const bool ignore_value = flags.flag("ignore-value");
  if (ignore_value && arguments.size() > 1) {
    return bad_arguments("put command needs only 1 argument when 'ignore-value' is set");
  }
  pb::PutRequest request;
  request.set_key(arguments[0]);
  if (!ignore_value) {
    std::string value = arguments.size() > 1 ? arguments[1] : context.read_input();
    if (arguments.size() < 2 && value.empty()) return bad_arguments(kPutArguments);
    request.set_value(std::move(value));
  }
  const auto lease = base::parse_int(flags.text("lease"), 16);
  if (!lease) {
    return bad_arguments(fmt::format("bad lease ID ({}), expecting ID in Hex", lease.error().text));
  }
  request.set_lease(*lease);
  request.set_prev_kv(flags.flag("prev-kv"));
  request.set_ignore_value(ignore_value);
  request.set_ignore_lease(flags.flag("ignore-lease"));
  return request;
}

namespace {

Outcome run_put(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto request,
                   put_request(invocation.flags, standard_context(invocation.output)));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response, session->call(client::kPut, request));
  return session->printer().put(response);
}

constexpr FlagSpec kPutFlags[] = {
    {"ignore-lease", FlagKind::kBool, "", "keep the lease the key has"},
    {"ignore-value", FlagKind::kBool, "", "keep the value the key has"},
    {"lease", FlagKind::kString, "0", "lease to attach the key to, in hexadecimal"},
    {"prev-kv", FlagKind::kBool, "", "show what was there before"},
};

}  // namespace

constinit const Command kPutCommand = {
    .use = "put [options] <key> <value> (<value> can also be given from stdin)",
    .summary = "Stores a value under a key",
    .description = R"(Stores a value under a key.

A value that is not given as an argument is read from standard input, to its end:

$ put <key> < file

Arguments that begin with '-' are taken for flags, unless they follow a '--':

$ put <key> -- <value>
$ put -- <key> <value>)",
    .group = Group::kKeyValue,
    .flags = kPutFlags,
    .run = run_put,
};

// get --------------------------------------------------------------------------------------------

namespace {

Outcome set_order(pb::RangeRequest& request, const Flags& flags) {
  struct Name {
    std::string_view name;
    int value;
  };
  constexpr Name kOrders[] = {{"", pb::RangeRequest::NONE},
                              {"ASCEND", pb::RangeRequest::ASCEND},
                              {"DESCEND", pb::RangeRequest::DESCEND}};
  constexpr Name kTargets[] = {
      {"", pb::RangeRequest::KEY},          {"KEY", pb::RangeRequest::KEY},
      {"CREATE", pb::RangeRequest::CREATE}, {"MODIFY", pb::RangeRequest::MOD},
      {"VALUE", pb::RangeRequest::VALUE},   {"VERSION", pb::RangeRequest::VERSION}};
  const auto find = [](std::span<const Name> names, std::string_view text) -> std::optional<int> {
    const std::string wanted = upper(text);
    for (const Name& one : names) {
      if (one.name == wanted) return one.value;
    }
    return std::nullopt;
  };
  const auto order = find(kOrders, flags.text("order"));
  if (!order) {
    return exit_with(kExitBadFeature, fmt::format("bad sort order {}", flags.text("order")));
  }
  const auto target = find(kTargets, flags.text("sort-by"));
  if (!target) {
    return exit_with(kExitBadFeature, fmt::format("bad sort target {}", flags.text("sort-by")));
  }
  request.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(*target));
  request.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(*order));
  // etcd's client library: keys come in order by themselves, anything else is sorted upwards.
  if (request.sort_order() == pb::RangeRequest::NONE &&
      request.sort_target() != pb::RangeRequest::KEY) {
    request.set_sort_order(pb::RangeRequest::ASCEND);
  }
  if (request.sort_target() == pb::RangeRequest::KEY &&
      request.sort_order() == pb::RangeRequest::ASCEND) {
    request.set_sort_order(pb::RangeRequest::NONE);
  }
  return {};
}

Outcome set_filters(pb::RangeRequest& request, const Flags& flags) {
  const auto positive = [&](std::string_view name) {
    return std::max<std::int64_t>(0, flags.number(name));
  };
  const std::int64_t min_create = flags.number("min-create-rev");
  const std::int64_t max_create = flags.number("max-create-rev");
  if (max_create > 0 && min_create > max_create) {
    return exit_with(kExitBadFeature, fmt::format("getMinCreateRev(={}) > getMaxCreateRev(={})",
                                                  min_create, max_create));
  }
  const std::int64_t min_mod = flags.number("min-mod-rev");
  const std::int64_t max_mod = flags.number("max-mod-rev");
  if (max_mod > 0 && min_mod > max_mod) {
    return exit_with(kExitBadFeature,
                     fmt::format("getMinModRev(={}) > getMaxModRev(={})", min_mod, max_mod));
  }
  request.set_min_create_revision(positive("min-create-rev"));
  request.set_max_create_revision(positive("max-create-rev"));
  request.set_min_mod_revision(positive("min-mod-rev"));
  request.set_max_mod_revision(positive("max-mod-rev"));
  return {};
}

}  // namespace

base::Result<pb::RangeRequest, Exit> range_request(const Flags& flags) {
  const auto& arguments = flags.arguments();
  if (arguments.empty()) {
    return bad_arguments(
        "get command needs one argument as key and an optional argument as range_end");
  }
  if (flags.flag("prefix") && flags.flag("from-key")) return bad_arguments(kPrefixAndFromKey);
  if (flags.flag("keys-only") && flags.flag("count-only")) {
    return bad_arguments(
        "`--keys-only` and `--count-only` cannot be set at the same time, choose one");
  }
  pb::RangeRequest request;
  ASSIGN_OR_RETURN(const bool serializable, is_serializable(flags.text("consistency")));
  request.set_serializable(serializable);
  request.set_key(arguments[0]);
  if (arguments.size() > 1) {
    if (flags.flag("prefix") || flags.flag("from-key")) return bad_arguments(kOneArgumentOnly);
    request.set_range_end(arguments[1]);
  }
  request.set_limit(flags.number("limit"));
  request.set_revision(std::max<std::int64_t>(0, flags.number("rev")));
  RETURN_IF_ERROR(set_order(request, flags));
  set_range(request, flags);
  request.set_keys_only(flags.flag("keys-only"));
  request.set_count_only(flags.flag("count-only"));
  RETURN_IF_ERROR(set_filters(request, flags));
  return request;
}

namespace {

base::Result<pb::RangeResponse, Exit> fetch(Session& session, const pb::RangeRequest& request,
                                            bool stream) {
  if (!stream) return session.call(client::kRange, request);
  ASSIGN_OR_RETURN(client::Blocking * over, session.client());
  auto response = over->range_stream(request, session.command_timeout());
  if (response) return *std::move(response);
  return exit_with(kExitError, client::error_text(response.error()));
}

Outcome run_get(Invocation& invocation) {
  const Flags& flags = invocation.flags;
  ASSIGN_OR_RETURN(const auto request, range_request(flags));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response, fetch(*session, request, flags.flag("stream")));
  if (flags.flag("count-only") && session->format() != "fields") {
    return bad_arguments("--count-only is only for `--write-out=fields`");
  }
  if (!flags.flag("print-value-only")) return session->printer().get(response);
  if (session->format() != "simple") {
    return bad_arguments("print-value-only is only for `--write-out=simple`");
  }
  return make_simple_printer(invocation.output, session->hex(), true)->get(response);
}

constexpr FlagSpec kGetFlags[] = {
    {"consistency", FlagKind::kString, "l", "linearizable (l) or serializable (s)"},
    {"count-only", FlagKind::kBool, "", "ask for the number of keys only"},
    {"from-key", FlagKind::kBool, "", "all keys from this one on, by bytes"},
    {"keys-only", FlagKind::kBool, "", "ask for the keys without their values"},
    {"limit", FlagKind::kInt, "0", "at most so many"},
    {"max-create-rev", FlagKind::kInt, "0", "created at this revision or before"},
    {"max-mod-rev", FlagKind::kInt, "0", "last changed at this revision or before"},
    {"min-create-rev", FlagKind::kInt, "0", "created at this revision or after"},
    {"min-mod-rev", FlagKind::kInt, "0", "last changed at this revision or after"},
    {"order", FlagKind::kString, "", "ASCEND or DESCEND"},
    {"prefix", FlagKind::kBool, "", "all keys that begin so"},
    {"print-value-only", FlagKind::kBool, "", "no keys in simple output"},
    {"rev", FlagKind::kInt, "0", "as of this revision"},
    {"sort-by", FlagKind::kString, "", "CREATE, KEY, MODIFY, VALUE or VERSION"},
    {"stream", FlagKind::kBool, "", "fetch in chunks, by RangeStream"},
};

}  // namespace

constinit const Command kGetCommand = {
    .use = "get [options] <key> [range_end]",
    .summary = "Shows a key or a range of keys",
    .description = "",
    .group = Group::kKeyValue,
    .flags = kGetFlags,
    .run = run_get,
};

// del --------------------------------------------------------------------------------------------

base::Result<pb::DeleteRangeRequest, Exit> delete_request(const Flags& flags,
                                                          const RequestContext& context) {
  const auto& arguments = flags.arguments();
  if (arguments.empty() || arguments.size() > 2) {
    return bad_arguments(
        "del command needs one argument as key and an optional argument as range_end");
  }
  if (flags.flag("prefix") && flags.flag("from-key")) return bad_arguments(kPrefixAndFromKey);
  pb::DeleteRangeRequest request;
  request.set_key(arguments[0]);
  if (arguments.size() > 1) {
    if (flags.flag("prefix") || flags.flag("from-key")) return bad_arguments(kOneArgumentOnly);
    request.set_range_end(arguments[1]);
    if (!flags.flag("range")) {
      context.output.complain(fmt::format(
          "Warning: Keys between {} and {} will be deleted. Please interrupt the command within "
          "next 2 seconds to cancel. You can provide `--range` flag to avoid the delay.\n",
          base::quote(arguments[0]), base::quote(arguments[1])));
      context.wait_for_second_thoughts();
    }
  }
  set_range(request, flags);
  request.set_prev_kv(flags.flag("prev-kv"));
  return request;
}

namespace {

Outcome run_del(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto request,
                   delete_request(invocation.flags, standard_context(invocation.output)));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response, session->call(client::kDeleteRange, request));
  return session->printer().del(response);
}

constexpr FlagSpec kDelFlags[] = {
    {"from-key", FlagKind::kBool, "", "all keys from this one on, by bytes"},
    {"prefix", FlagKind::kBool, "", "all keys that begin so"},
    {"prev-kv", FlagKind::kBool, "", "show what was deleted"},
    {"range", FlagKind::kBool, "", "a range is meant: do not wait"},
};

}  // namespace

constinit const Command kDelCommand = {
    .use = "del [options] <key> [range_end]",
    .summary = "Deletes a key, or a range of keys [key, range_end)",
    .description = "",
    .group = Group::kKeyValue,
    .flags = kDelFlags,
    .run = run_del,
};

// compaction -------------------------------------------------------------------------------------

namespace {

Outcome run_compaction(Invocation& invocation) {
  if (invocation.arguments().size() != 1)
    return bad_arguments("compaction command needs 1 argument");
  const auto revision = base::parse_int(invocation.arguments()[0], 10);
  if (!revision) return exit_with(kExitError, revision.error().text);
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::CompactionRequest request;
  request.set_revision(*revision);
  request.set_physical(invocation.flags.flag("physical"));
  ASSIGN_OR_RETURN(const auto response, session->call(client::kCompact, request));
  static_cast<void>(response);
  invocation.output.print_line(fmt::format("compacted revision {}", *revision));
  return {};
}

constexpr FlagSpec kCompactionFlags[] = {
    {"physical", FlagKind::kBool, "", "wait until old revisions are gone from the store"},
};

}  // namespace

constinit const Command kCompactionCommand = {
    .use = "compaction [options] <revision>",
    .summary = "Forgets the history before a revision",
    .description = "",
    .group = Group::kKeyValue,
    .flags = kCompactionFlags,
    .run = run_compaction,
};

}  // namespace keelson::cmd::ctl
