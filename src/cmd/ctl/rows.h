// The rows that simple and table output share, and tables.
#pragma once

#include <string>
#include <vector>

#include "cmd/ctl/printer.h"

namespace keelson::cmd::ctl {

using Row = std::vector<std::string>;
struct Table {
  Row header;
  std::vector<Row> rows;
};

Table member_table(const pb::MemberListResponse& response);
Table health_table(const std::vector<EndpointHealth>& all);
Table status_table(const std::vector<EndpointStatus>& all);
Table hash_kv_table(const std::vector<EndpointHashKv>& all);

// Boxes of light lines; the header in capitals and centred, what stands below right-aligned.
std::string table_text(const Table& table);

}  // namespace keelson::cmd::ctl
