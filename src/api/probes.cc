#include "api/probes.h"

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>

#include "api/alarm_text.h"
#include "api/context.h"
#include "env/log.h"

namespace keelson::api {
namespace {

using Names = std::vector<std::string>;

bool contains(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Values of `exclude`; empty ones say nothing.
Names excluded_by(const http::Request& request) {
  Names names;
  for (auto& [name, value] : http::parse_query(request.query)) {
    if (name == "exclude" && !value.empty()) names.push_back(std::move(value));
  }
  return names;
}

std::optional<std::string> first_value(const http::Request& request, std::string_view wanted) {
  for (auto& [name, value] : http::parse_query(request.query)) {
    if (name == wanted) return std::move(value);
  }
  return std::nullopt;
}

// --- /health

prometheus::Counter& health_counter(prometheus::Registry& registry, bool healthy) {
  return prometheus::BuildCounter()
      .Name(healthy ? "etcd_server_health_success" : "etcd_server_health_failures")
      .Help(healthy ? "Times /health found this member healthy."
                    : "Times /health found this member not healthy.")
      .Register(registry)
      .Add({});
}

class HealthProbe : public http::RequestHandler {
 public:
  explicit HealthProbe(member::Front& front) : front_(front), waiting_(front) {}

  void on_request(http::Exchange& exchange) override {
    const bool serializable = first_value(exchange.request(), "serializable") == "true";
    const auto view = front_.view();
    if (const auto alarm = alarm_reason(*view, excluded_by(exchange.request()))) {
      return unhealthy(exchange, "ALARM " + *alarm);
    }
    if (serializable) return healthy(exchange);
    if (front_.progress().leader.load(std::memory_order_acquire) == raft::kNone) {
      return unhealthy(exchange, "RAFT NO LEADER");
    }
    waiting_ = front_.barrier([this, &exchange](auto read) {
      waiting_ = 0;
      if (read) return healthy(exchange);
      unhealthy(exchange, "RANGE ERROR:" + status_of(read.error()).message);
    });
  }

 private:
  static std::optional<std::string> alarm_reason(const member::View& view, const Names& excluded) {
    for (const apply::AlarmMember& alarm : *view.alarms) {
      if (!contains(excluded, alarm_type_text(alarm.type))) {
        return is_known(alarm.type) ? alarm_type_text(alarm.type) : "UNKNOWN";
      }
    }
    return std::nullopt;
  }
  prometheus::Registry& registry() { return *front_.shared().metrics.registry; }

  void healthy(http::Exchange& exchange) {
    health_counter(registry(), true).Increment();
    exchange.respond({.headers = {{"Content-Type", "text/plain; charset=utf-8"}},
                      .body = R"({"health":"true","reason":""})"});
  }
  void unhealthy(http::Exchange& exchange, const std::string& reason) {
    env::log_warn("serving /health false", {{"reason", reason}});
    health_counter(registry(), false).Increment();
    exchange.respond(
        http::text_response(503, fmt::format(R"({{"health":"false","reason":"{}"}})", reason)));
  }

  member::Front& front_;
  Waiting waiting_;
};

// --- /livez, /readyz

enum class Check { kDataCorruption, kSerializableRead, kLinearizableRead, kNonLearner };

constexpr std::array kLiveChecks{Check::kSerializableRead};
constexpr std::array kReadyChecks{Check::kDataCorruption, Check::kSerializableRead,
                                  Check::kLinearizableRead, Check::kNonLearner};

std::string_view name_of(Check check) {
  switch (check) {
    case Check::kDataCorruption:
      return "data_corruption";
    case Check::kSerializableRead:
      return "serializable_read";
    case Check::kLinearizableRead:
      return "linearizable_read";
    case Check::kNonLearner:
      return "non_learner";
  }
  CHECK(false);
}

struct ProbeKind {
  std::string_view name;
  std::span<const Check> checks;
};
constexpr ProbeKind kLive{"livez", kLiveChecks};
constexpr ProbeKind kReady{"readyz", kReadyChecks};

// What a path asks for; no checks: it is no such path.
struct Asked {
  const ProbeKind* kind = nullptr;
  std::vector<Check> checks;
  bool all = false;  // `exclude` counts
};

Asked asked_by(std::string_view path) {
  for (const ProbeKind* kind : {&kLive, &kReady}) {
    if (path.size() <= kind->name.size() || path.substr(1, kind->name.size()) != kind->name) {
      continue;
    }
    const std::string_view rest = path.substr(1 + kind->name.size());
    if (rest.empty()) return {kind, {kind->checks.begin(), kind->checks.end()}, true};
    for (const Check check : kind->checks) {
      if (rest.substr(0, 1) == "/" && rest.substr(1) == name_of(check)) return {kind, {check}};
    }
  }
  return {};
}

// Asks one check after the other and gathers a line for each.
class ChecksProbe : public http::RequestHandler {
 public:
  ChecksProbe(member::Front& front, Asked asked)
      : front_(front), asked_(std::move(asked)), waiting_(front) {}

  void on_request(http::Exchange& exchange) override {
    exchange_ = &exchange;
    if (asked_.all) exclude(excluded_by(exchange.request()));
    next();
  }

 private:
  void exclude(Names names) {
    std::erase_if(asked_.checks,
                  [&](Check check) { return std::erase(names, std::string(name_of(check))) > 0; });
    if (names.empty()) return;
    env::log_warn("some health checks cannot be excluded", {{"missing-health-checks", names}});
  }

  void next() {
    if (at_ == asked_.checks.size()) return answer();
    const auto view = front_.view();
    switch (asked_.checks[at_]) {
      case Check::kDataCorruption: {
        const bool corrupt =
            std::any_of(view->alarms->begin(), view->alarms->end(),
                        [](const auto& alarm) { return alarm.type == apply::AlarmType::kCorrupt; });
        return checked(corrupt ? "alarm activated: CORRUPT" : "");
      }
      case Check::kSerializableRead:
        return checked("");  // a View can always be read
      case Check::kNonLearner: {
        const auto* self = view->roster->find(front_.identity().member_id);
        return checked(self != nullptr && self->is_learner ? "not supported for learner" : "");
      }
      case Check::kLinearizableRead:
        waiting_ = front_.barrier([this](auto read) {
          waiting_ = 0;
          checked(read ? "" : status_of(read.error()).message);
        });
        return;
    }
  }

  void checked(const std::string& error) {
    const std::string_view name = name_of(asked_.checks[at_]);
    count(name, error.empty());
    if (error.empty()) {
      lines_ += fmt::format("[+]{} ok\n", name);
    } else {
      lines_ += fmt::format("[-]{} failed: {}\n", name, error);
      failed_.emplace_back(name);
    }
    at_++;
    next();
  }

  void count(std::string_view name, bool ok) {
    auto& registry = *front_.shared().metrics.registry;
    const std::map<std::string, std::string> labels{{"type", std::string(asked_.kind->name)},
                                                    {"name", std::string(name)}};
    prometheus::BuildGauge()
        .Name("etcd_server_healthcheck")
        .Help("The result of each kind of healthcheck.")
        .Register(registry)
        .Add(labels)
        .Set(ok ? 1 : 0);
    auto counted = labels;
    counted["status"] = ok ? "success" : "error";
    prometheus::BuildCounter()
        .Name("etcd_server_healthchecks_total")
        .Help("The total number of each kind of healthcheck.")
        .Register(registry)
        .Add(counted)
        .Increment();
  }

  void answer() {
    if (!failed_.empty()) {
      env::log_error("Health check error",
                     {{"path", exchange_->request().path}, {"failed-checks", failed_}});
      return exchange_->respond(http::text_response(503, lines_));
    }
    const bool verbose = first_value(exchange_->request(), "verbose").has_value();
    exchange_->respond(http::text_response(200, verbose ? lines_ + "ok" : "ok"));
  }

  member::Front& front_;
  Asked asked_;
  http::Exchange* exchange_ = nullptr;
  std::size_t at_ = 0;  // the check under way
  std::string lines_;
  Names failed_;
  Waiting waiting_;
};

}  // namespace

void show_probe_metrics(prometheus::Registry& registry) {
  health_counter(registry, true);
  health_counter(registry, false);
}

bool is_probe(std::string_view path) { return path == "/health" || asked_by(path).kind != nullptr; }

std::unique_ptr<http::RequestHandler> make_probe(member::Front& front, const http::Request& head) {
  if (head.path == "/health") return std::make_unique<HealthProbe>(front);
  return std::make_unique<ChecksProbe>(front, asked_by(head.path));
}

}  // namespace keelson::api
