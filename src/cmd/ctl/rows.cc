#include "cmd/ctl/rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "base/utf8.h"
#include "cmd/ctl/texts.h"

namespace keelson::cmd::ctl {
namespace {

std::string yes_no(bool value) { return value ? "true" : "false"; }

// Of the file, what is not in use; a store that says 0 has none.
std::string percent_unused(const pb::StatusResponse& status) {
  if (status.dbsize() == 0) return "0%";
  return fmt::format("{}%", 100 - status.dbsizeinuse() * 100 / status.dbsize());
}

std::string size_of(std::int64_t bytes) { return size_text(static_cast<std::uint64_t>(bytes)); }

}  // namespace

Table member_table(const pb::MemberListResponse& response) {
  Table table{{"ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"}, {}};
  for (const pb::Member& member : response.members()) {
    table.rows.push_back(
        {fmt::format("{:x}", member.id()), member.name().empty() ? "unstarted" : "started",
         member.name(), fmt::format("{}", fmt::join(member.peerurls(), ",")),
         fmt::format("{}", fmt::join(member.clienturls(), ",")), yes_no(member.islearner())});
  }
  return table;
}

Table health_table(const std::vector<EndpointHealth>& all) {
  Table table{{"endpoint", "health", "took", "error"}, {}};
  for (const EndpointHealth& one : all) {
    table.rows.push_back({one.endpoint, yes_no(one.health), one.took, one.error});
  }
  return table;
}

Table status_table(const std::vector<EndpointStatus>& all) {
  Table table{
      {"endpoint", "ID", "version", "storage version", "db size", "in use", "percentage not in use",
       "quota", "is leader", "is learner", "raft term", "raft index", "raft applied index",
       "errors", "downgrade target version", "downgrade enabled"},
      {}};
  for (const EndpointStatus& one : all) {
    const pb::StatusResponse& status = one.response;
    const std::uint64_t id = status.header().member_id();
    table.rows.push_back(
        {one.endpoint, fmt::format("{:x}", id), status.version(), status.storageversion(),
         size_of(status.dbsize()), size_of(status.dbsizeinuse()), percent_unused(status),
         size_of(status.dbsizequota()), yes_no(status.leader() == id), yes_no(status.islearner()),
         fmt::format("{}", status.raftterm()), fmt::format("{}", status.raftindex()),
         fmt::format("{}", status.raftappliedindex()),
         fmt::format("{}", fmt::join(status.errors(), ", ")),
         status.downgradeinfo().targetversion(), yes_no(status.downgradeinfo().enabled())});
  }
  return table;
}

Table hash_kv_table(const std::vector<EndpointHashKv>& all) {
  Table table{{"endpoint", "hash", "hash_revision"}, {}};
  for (const EndpointHashKv& one : all) {
    table.rows.push_back({one.endpoint, fmt::format("{}", one.response.hash()),
                          fmt::format("{}", one.response.hash_revision())});
  }
  return table;
}

namespace {

std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const auto next = base::next_code_point(text);
    text.remove_prefix(next ? next->length : 1);
    ++width;
  }
  return width;
}

std::string spaces(std::size_t count) { return std::string(count, ' '); }

std::string title(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = c == '_' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return out;
}

std::string line(const std::vector<std::size_t>& widths, std::string_view left,
                 std::string_view middle, std::string_view right) {
  std::string out(left);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    if (i > 0) out += middle;
    for (std::size_t j = 0; j < widths[i] + 2; ++j) out += "─";
  }
  return out.append(right) + "\n";
}

std::string centred(std::string_view text, std::size_t width) {
  const std::size_t missing = width - width_of(text);
  return spaces(missing / 2).append(text) + spaces(missing - missing / 2);
}

}  // namespace

std::string table_text(const Table& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.header.size(); ++i) {
    widths.push_back(width_of(table.header[i]));
    for (const Row& row : table.rows) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out = line(widths, "┌", "┬", "┐");
  for (std::size_t i = 0; i < widths.size(); ++i) {
    out += fmt::format("│ {} ", centred(title(table.header[i]), widths[i]));
  }
  out += "│\n";
  if (!table.rows.empty()) out += line(widths, "├", "┼", "┤");
  for (const Row& row : table.rows) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      out += fmt::format("│ {}{} ", spaces(widths[i] - width_of(row[i])), row[i]);
    }
    out += "│\n";
  }
  return out + line(widths, "└", "┴", "┘");
}

}  // namespace keelson::cmd::ctl
