#include "cmd/server/process_metrics.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>

namespace keelson::cmd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

void add(std::vector<MetricFamily> &out, MetricType type, const char *name, const char *help,
         double value) {
  MetricFamily family{.name = name, .help = help, .type = type};
  auto &metric = family.metric.emplace_back();
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  out.push_back(std::move(family));
}

// /proc/self/stat behind the name, which may hold anything: field 3 is the
// first.
std::optional<std::vector<double>> stat_fields() {
  std::ifstream file("/proc/self/stat");
  std::string text;
  if (!std::getline(file, text)) return std::nullopt;
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream in(text.substr(name_end + 1));
  std::string state;
  in >> state;
  std::vector<double> fields{0, 0, 0};  // so that numbers of proc(5) are indices
  for (double value = 0; in >> value;) fields.push_back(value);
  fields.insert(fields.begin() + 3, 0);  // state
  return fields;
}

// Seconds since 1970 at which the machine started.
std::optional<double> boot_time() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("btime ")) return std::stod(line.substr(6));
  }
  return std::nullopt;
}

std::optional<double> open_descriptors() {
  std::error_code ec;
  std::filesystem::directory_iterator it("/proc/self/fd", ec);
  if (ec) return std::nullopt;
  return static_cast<double>(std::distance(begin(it), end(it)) - 1);  // not the one reading here
}

// Bytes that came and went over IP in this process's network namespace, as the standard collector
// tells them: two lines of names and values.
std::optional<std::pair<double, double>> network_bytes() {
  std::ifstream file("/proc/self/net/netstat");
  for (std::string names, values; std::getline(file, names) && std::getline(file, values);) {
    if (!names.starts_with("IpExt:")) continue;
    std::istringstream name_in(names), value_in(values);
    std::string name, value;
    double received = 0, sent = 0;
    while (name_in >> name && value_in >> value) {
      if (name == "InOctets") received = std::stod(value);
      if (name == "OutOctets") sent = std::stod(value);
    }
    return std::pair(received, sent);
  }
  return std::nullopt;
}

double limit_of(__rlimit_resource resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return static_cast<double>(std::numeric_limits<std::uint64_t>::max());
  }
  return static_cast<double>(limit.rlim_cur);
}

void add_stat(std::vector<MetricFamily> &out, const std::vector<double> &stat) {
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  add(out, MetricType::Counter, "process_cpu_seconds_total", "User and system CPU time in seconds.",
      (stat[14] + stat[15]) / ticks);
  if (const auto boot = boot_time()) {
    add(out, MetricType::Gauge, "process_start_time_seconds",
        "Start of the process in seconds since 1970.", *boot + stat[22] / ticks);
  }
  add(out, MetricType::Gauge, "process_virtual_memory_bytes", "Virtual memory in bytes.", stat[23]);
  add(out, MetricType::Gauge, "process_resident_memory_bytes", "Resident memory in bytes.",
      stat[24] * page);
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  std::vector<MetricFamily> out;
  if (const auto stat = stat_fields(); stat && stat->size() > 24) add_stat(out, *stat);
  add(out, MetricType::Gauge, "process_virtual_memory_max_bytes",
      "Most virtual memory the process may have, in bytes.", limit_of(RLIMIT_AS));
  add(out, MetricType::Gauge, "process_max_fds", "Most file descriptors the process may have.",
      limit_of(RLIMIT_NOFILE));
  add(out, MetricType::Gauge, "os_fd_limit", "Most file descriptors the process may have.",
      limit_of(RLIMIT_NOFILE));
  if (const auto bytes = network_bytes()) {
    add(out, MetricType::Counter, "process_network_receive_bytes_total", "Bytes received over IP.",
        bytes->first);
    add(out, MetricType::Counter, "process_network_transmit_bytes_total", "Bytes sent over IP.",
        bytes->second);
  }
  if (const auto open = open_descriptors()) {
    add(out, MetricType::Gauge, "process_open_fds", "Open file descriptors.", *open);
    add(out, MetricType::Gauge, "os_fd_used", "Open file descriptors.", *open);
  }
  return out;
}

}  // namespace keelson::cmd
