#include "cmd/server/config_file.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <span>

#include "base/duration.h"
#include "base/go_text.h"
#include "env/posix/files.h"

namespace keelson::cmd {
namespace {

using base::fail;
using Decoded = base::Result<void, ConfigFileError>;

enum class Type {
  kString,
  kUrlList,   // one text; a mistake in it is told on stderr
  kLenient,   // a text whose value nobody looks at
  kNonEmpty,  // a text that leaves the default if it is empty
  kBool,
  kUint,
  kUint32,
  kUint64,
  kInt,
  kInt64,
  kDuration,
  kStrings,
  kMap,
};

struct Field {
  std::string_view key;
  Type type;
  std::string_view flag;           // empty: the key; of a map nothing
  std::span<const Field> members;  // of a map
  std::string_view go_type;        // of a map
};

constexpr Field kSocketOptions[] = {{"reuse-port", Type::kBool, "socket-reuse-port"},
                                    {"reuse-address", Type::kBool, "socket-reuse-address"}};

constexpr Field kClientSecurity[] = {
    {"cert-file", Type::kString, "cert-file"},
    {"key-file", Type::kString, "key-file"},
    {"client-cert-file", Type::kString, "client-cert-file"},
    {"client-key-file", Type::kString, "client-key-file"},
    {"client-cert-auth", Type::kBool, "client-cert-auth"},
    {"trusted-ca-file", Type::kString, "trusted-ca-file"},
    {"auto-tls", Type::kBool, "auto-tls"},
    {"allowed-hostname", Type::kStrings, "client-cert-allowed-hostname"},
};

constexpr Field kPeerSecurity[] = {
    {"cert-file", Type::kString, "peer-cert-file"},
    {"key-file", Type::kString, "peer-key-file"},
    {"client-cert-file", Type::kString, "peer-client-cert-file"},
    {"client-key-file", Type::kString, "peer-client-key-file"},
    {"client-cert-auth", Type::kBool, "peer-client-cert-auth"},
    {"trusted-ca-file", Type::kString, "peer-trusted-ca-file"},
    {"auto-tls", Type::kBool, "peer-auto-tls"},
    {"allowed-cn", Type::kStrings, "peer-cert-allowed-cn"},
    {"allowed-hostname", Type::kStrings, "peer-cert-allowed-hostname"},
    {"skip-client-san-verification", Type::kBool, "peer-skip-client-san-verification"},
};

constexpr Field kDiscoverySecure[] = {
    {"cert", Type::kString, "discovery-cert"},
    {"key", Type::kString, "discovery-key"},
    {"cacert", Type::kString, "discovery-cacert"},
    {"insecure-transport", Type::kBool, "discovery-insecure-transport"},
    {"insecure-skip-tls-verify", Type::kBool, "discovery-insecure-skip-tls-verify"},
};
constexpr Field kDiscoveryAuth[] = {{"username", Type::kString, "discovery-user"},
                                    {"password", Type::kString, "discovery-password"}};
constexpr Field kDiscoveryClient[] = {
    {"endpoints", Type::kStrings, "discovery-endpoints"},
    {"request-timeout", Type::kDuration, "discovery-request-timeout"},
    {"dial-timeout", Type::kDuration, "discovery-dial-timeout"},
    {"keepalive-time", Type::kDuration, "discovery-keepalive-time"},
    {"keepalive-timeout", Type::kDuration, "discovery-keepalive-timeout"},
    {"secure", Type::kMap, "", kDiscoverySecure, "clientv3.SecureConfig"},
    {"auth", Type::kMap, "", kDiscoveryAuth, "clientv3.AuthConfig"},
};
constexpr Field kDiscovery[] = {
    {"token", Type::kString, "discovery-token"},
    {"client", Type::kMap, "", kDiscoveryClient, "clientv3.ConfigSpec"},
};

constexpr Field kFields[] = {
    {"name", Type::kString},
    {"data-dir", Type::kString},
    {"wal-dir", Type::kString},
    {"snapshot-count", Type::kUint64},
    {"snapshot-catchup-entries", Type::kUint64},
    {"max-snapshots", Type::kUint},
    {"max-wals", Type::kUint},
    {"heartbeat-interval", Type::kUint},
    {"election-timeout", Type::kUint},
    {"initial-election-tick-advance", Type::kBool},
    {"backend-batch-interval", Type::kDuration},
    {"backend-batch-limit", Type::kInt},
    {"backend-bbolt-freelist-type", Type::kString},
    {"quota-backend-bytes", Type::kInt64},
    {"max-txn-ops", Type::kUint},
    {"max-request-bytes", Type::kUint},
    {"max-concurrent-streams", Type::kUint32},
    {"self-signed-cert-validity", Type::kUint},
    {"cipher-suites", Type::kStrings},
    {"tls-min-version", Type::kString},
    {"tls-max-version", Type::kString},
    {"initial-cluster-state", Type::kNonEmpty},
    {"discovery-srv", Type::kString},
    {"discovery-srv-name", Type::kString},
    {"discovery-config", Type::kMap, "", kDiscovery, "v3discovery.DiscoveryConfig"},
    {"initial-cluster", Type::kString},
    {"initial-cluster-token", Type::kString},
    {"strict-reconfig-check", Type::kBool},
    {"auto-compaction-mode", Type::kString},
    {"auto-compaction-retention", Type::kString},
    {"grpc-keepalive-min-time", Type::kDuration},
    {"grpc-keepalive-interval", Type::kDuration},
    {"grpc-keepalive-timeout", Type::kDuration},
    {"socket-options", Type::kMap, "", kSocketOptions, "transport.SocketOpts"},
    {"pre-vote", Type::kBool},
    {"auth-token", Type::kString},
    {"bcrypt-cost", Type::kUint},
    {"auth-token-ttl", Type::kUint},
    {"corrupt-check-time", Type::kDuration},
    {"compact-hash-check-time", Type::kDuration},
    {"compaction-batch-limit", Type::kInt},
    {"compaction-sleep-interval", Type::kDuration},
    {"watch-progress-notify-interval", Type::kDuration},
    {"warning-apply-duration", Type::kDuration},
    {"bootstrap-defrag-threshold-megabytes", Type::kUint},
    {"warning-unary-request-duration", Type::kDuration},
    {"max-learners", Type::kInt},
    {"force-new-cluster", Type::kBool},
    {"enable-pprof", Type::kBool},
    {"metrics", Type::kString},
    {"listen-metrics-urls", Type::kUrlList},
    {"enable-distributed-tracing", Type::kBool},
    {"distributed-tracing-address", Type::kString},
    {"distributed-tracing-service-name", Type::kString},
    {"distributed-tracing-instance-id", Type::kString},
    {"distributed-tracing-sampling-rate", Type::kInt},
    {"logger", Type::kString},
    {"log-level", Type::kString},
    {"log-format", Type::kString},
    {"log-outputs", Type::kStrings},
    {"enable-log-rotation", Type::kBool},
    {"log-rotation-config-json", Type::kString},
    {"enable-grpc-gateway", Type::kBool},
    {"unsafe-no-fsync", Type::kBool},
    {"downgrade-check-time", Type::kDuration},
    {"memory-mlock", Type::kBool},
    {"v2-deprecation", Type::kLenient},
};
// The rest of the top level; in etcd's source a struct of its own, which shows in its messages.
constexpr Field kOwnFields[] = {
    {"listen-peer-urls", Type::kUrlList},
    {"listen-client-urls", Type::kUrlList},
    {"listen-client-http-urls", Type::kUrlList},
    {"initial-advertise-peer-urls", Type::kUrlList},
    {"advertise-client-urls", Type::kUrlList},
    {"cors", Type::kUrlList},
    {"host-whitelist", Type::kNonEmpty},
    {"client-transport-security", Type::kMap, "", kClientSecurity, "embed.securityConfig"},
    {"peer-transport-security", Type::kMap, "", kPeerSecurity, "embed.securityConfig"},
    {"feature-gates", Type::kNonEmpty},
};

std::string_view go_type(const Field& field) {
  switch (field.type) {
    case Type::kString:
    case Type::kUrlList:
    case Type::kLenient:
    case Type::kNonEmpty:
      return "string";
    case Type::kBool:
      return "bool";
    case Type::kUint:
      return "uint";
    case Type::kUint32:
      return "uint32";
    case Type::kUint64:
      return "uint64";
    case Type::kInt:
      return "int";
    case Type::kInt64:
      return "int64";
    case Type::kDuration:
      return "time.Duration";
    case Type::kStrings:
      return "[]string";
    case Type::kMap:
      return field.go_type;
  }
  return "";
}

// What a node is as JSON.
enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };

std::string_view kind_name(Kind kind) {
  constexpr std::string_view kNames[] = {"null", "bool", "number", "string", "array", "object"};
  return kNames[static_cast<std::size_t>(kind)];
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

std::optional<bool> yaml_bool(std::string_view text) {
  if (is_one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"})) {
    return true;
  }
  if (is_one_of(text,
                {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"})) {
    return false;
  }
  return std::nullopt;
}

bool is_number(std::string_view text) {
  if (base::parse_int(text)) return true;
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text.find_first_of("0123456789") == std::string_view::npos) return false;
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

Kind kind_of(const YAML::Node& node) {
  if (node.IsSequence()) return Kind::kArray;
  if (node.IsMap()) return Kind::kObject;
  if (!node.IsScalar()) return Kind::kNull;
  if (node.Tag() == "!") return Kind::kString;  // in quotes
  const std::string& text = node.Scalar();
  if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) return Kind::kNull;
  if (yaml_bool(text)) return Kind::kBool;
  return is_number(text) ? Kind::kNumber : Kind::kString;
}

auto json_error(std::string_view what, std::string_view path, std::string_view type) {
  return fail(ConfigFileError{
      .text = fmt::format("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} "
                          "into Go struct field {} of type {}",
                          what, path, type)});
}

bool same_key(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

class Decoder {
 public:
  Decoder(const FlagSet& flags, FlagValues& values) : flags_(flags), values_(values) {}

  Decoded decode(const YAML::Node& root) {
    const Kind kind = kind_of(root);
    if (kind == Kind::kNull) return {};
    if (kind != Kind::kObject) {
      return fail(ConfigFileError{
          .text =
              fmt::format("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
                          "{} into Go value of type embed.configYAML",
                          kind_name(kind))});
    }
    RETURN_IF_ERROR(decode_map(root, kFields, "configYAML.Config"));
    return decode_map(root, kOwnFields, "configYAML.configJSON");
  }

 private:
  Decoded decode_map(const YAML::Node& map, std::span<const Field> fields,
                     const std::string& path) {
    for (const auto& member : map) {
      const std::string key = member.first.IsScalar() ? member.first.Scalar() : "";
      const auto field = std::find_if(fields.begin(), fields.end(),
                                      [&](const Field& one) { return same_key(one.key, key); });
      if (field == fields.end() || kind_of(member.second) == Kind::kNull) continue;
      RETURN_IF_ERROR(take(*field, member.second, fmt::format("{}.{}", path, field->key)));
    }
    return {};
  }

  Decoded take(const Field& field, const YAML::Node& node, const std::string& path) {
    switch (field.type) {
      case Type::kString:
      case Type::kUrlList:
      case Type::kLenient:
      case Type::kNonEmpty:
        return take_text(field, node, path);
      case Type::kBool:
        if (kind_of(node) != Kind::kBool) break;
        return assign(field, *yaml_bool(node.Scalar()) ? "true" : "false");
      case Type::kUint:
      case Type::kUint32:
      case Type::kUint64:
      case Type::kInt:
      case Type::kInt64:
      case Type::kDuration:
        return take_number(field, node, path);
      case Type::kStrings:
        return take_strings(field, node, path);
      case Type::kMap:
        if (kind_of(node) != Kind::kObject) break;
        return decode_map(node, field.members, path);
    }
    return json_error(kind_name(kind_of(node)), path, go_type(field));
  }

  Decoded take_text(const Field& field, const YAML::Node& node, const std::string& path) {
    if (kind_of(node) != Kind::kString) {
      return json_error(kind_name(kind_of(node)), path, go_type(field));
    }
    if (field.type == Type::kLenient) return assign(field, "write-only");
    if (field.type != Type::kString && node.Scalar().empty()) return {};
    return assign(field, node.Scalar());
  }

  Decoded take_number(const Field& field, const YAML::Node& node, const std::string& path) {
    if (kind_of(node) != Kind::kNumber) {
      return json_error(kind_name(kind_of(node)), path, go_type(field));
    }
    const std::string& text = node.Scalar();
    const auto refuse = [&] { return json_error("number " + text, path, go_type(field)); };
    if (is_one_of(go_type(field), {"uint", "uint32", "uint64"})) {
      const auto value = base::parse_uint(text);
      if (!value || (field.type == Type::kUint32 && *value > 0xFFFF'FFFFu)) return refuse();
      return assign(field, std::to_string(*value));
    }
    const auto value = base::parse_int(text);
    if (!value) return refuse();
    if (field.type == Type::kDuration) {
      return assign(field, base::duration_text(base::Duration(*value)));
    }
    return assign(field, std::to_string(*value));
  }

  Decoded take_strings(const Field& field, const YAML::Node& node, const std::string& path) {
    if (kind_of(node) != Kind::kArray) {
      return json_error(kind_name(kind_of(node)), path, go_type(field));
    }
    std::string joined;
    for (const auto& item : node) {
      if (kind_of(item) != Kind::kString) {
        return json_error(kind_name(kind_of(item)), path, "string");
      }
      if (!joined.empty()) joined += ',';
      joined += item.Scalar();
    }
    if (joined.empty()) return {};
    return assign(field, joined);
  }

  Decoded assign(const Field& field, std::string_view value) {
    const std::string_view flag = field.flag.empty() ? field.key : field.flag;
    auto assigned = flags_.assign(values_, flag, value);
    if (assigned) return {};
    if (field.type == Type::kUrlList) {
      const std::string_view named = flag == "advertise-client-urls" ? "advertise-peer-urls" : flag;
      return fail(ConfigFileError{
          .text = fmt::format("unexpected error setting up {}: {}", named, assigned.error()),
          .url_list = true});
    }
    if (flag == "initial-cluster-state") {
      return fail(
          ConfigFileError{.text = fmt::format("unexpected clusterState {}", base::quote(value))});
    }
    return fail(ConfigFileError{.text = std::move(assigned).error()});
  }

  const FlagSet& flags_;
  FlagValues& values_;
};

}  // namespace

base::Result<FlagValues, ConfigFileError> parse_config_file(const FlagSet& flags,
                                                            std::string_view text) {
  FlagValues values = flags.defaults();
  try {
    RETURN_IF_ERROR(Decoder(flags, values).decode(YAML::Load(std::string(text))));
  } catch (const YAML::Exception& e) {
    return fail(
        ConfigFileError{.text = fmt::format("error converting YAML to JSON: yaml: line {}: {}",
                                            e.mark.line + 1, e.msg)});
  }
  return values;
}

base::Result<FlagValues, ConfigFileError> read_config_file(const FlagSet& flags,
                                                           const std::string& path) {
  env::posix::Files files;
  const auto text = env::read_file(files, path);
  if (!text) {
    std::string why = text.error().code.message();
    why.front() = static_cast<char>(std::tolower(why.front()));
    return fail(ConfigFileError{.text = fmt::format("open {}: {}", path, why)});
  }
  return parse_config_file(flags, *text);
}

}  // namespace keelson::cmd
