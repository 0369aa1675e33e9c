// Writes and reads bbolt files as text, for tests that hold them against bbolt itself.
//
//   bolt_file write FILE PAGE_BYTES   of lines "bucket NAME" or "large NAME", and "put KEY VALUE"
//   bolt_file dump FILE               checks it; "bucket NAME SEQUENCE", "put KEY VALUE", "end"
//
// Names, keys and values are in hex.

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "bolt/reader.h"
#include "bolt/writer.h"
#include "env/posix/files.h"
#include "tests/bolt/hex.h"

namespace {

using namespace keelson;
using tests::from_hex;
using tests::to_hex;

struct Line {
  std::string word, key, value;

  bool is_put() const { return word == "put"; }
  bolt::BucketKind kind() const {
    return word == "large" ? bolt::BucketKind::kLarge : bolt::BucketKind::kSmall;
  }
};

std::vector<Line> read_lines() {
  std::vector<Line> lines;
  for (std::string word, key, value; std::cin >> word >> key;) {
    value.clear();
    if (word == "put") std::cin >> value;
    lines.push_back({word, from_hex(key), from_hex(value)});
  }
  return lines;
}

bolt::Plan plan_of(const std::vector<Line>& lines, std::uint32_t page_bytes) {
  bolt::Layout layout(page_bytes);
  for (const Line& line : lines) {
    line.is_put() ? layout.add(line.key.size(), line.value.size())
                  : layout.begin_bucket(line.key.size(), line.kind());
  }
  return layout.finish();
}

void write_front(bolt::Writer& writer, const std::vector<Line>& lines) {
  bool is_large = false;
  for (const Line& line : lines) {
    if (!line.is_put()) {
      is_large = line.kind() == bolt::BucketKind::kLarge;
      writer.begin_bucket(line.key, line.kind());
    } else if (is_large) {
      writer.add_size(line.key, line.value.size());
    } else {
      writer.add(line.key, line.value);
    }
  }
}

void write_leaves(bolt::Writer& writer, const std::vector<Line>& lines) {
  for (const Line& line : lines) {
    line.is_put() ? writer.add(line.key, line.value) : writer.begin_bucket(line.key, line.kind());
  }
}

base::Result<> write(env::FileSystem& files, const std::string& path, std::uint32_t page_bytes) {
  const std::vector<Line> lines = read_lines();
  bolt::Writer writer(plan_of(lines, page_bytes));
  write_front(writer, lines);
  RETURN_IF_ERROR(writer.end_front());
  std::string bytes = writer.take();
  write_leaves(writer, lines);
  RETURN_IF_ERROR(writer.finish());
  return env::write_file(files, path, bytes + writer.take());
}

base::Result<> dump(const bolt::Database& database, const bolt::Bucket& bucket) {
  bolt::Cursor cursor(database, bucket);
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, cursor.next());
    if (!more) return {};
    if (!cursor.is_bucket()) {
      std::cout << "put " << to_hex(cursor.key()) << ' ' << to_hex(cursor.value()) << '\n';
      continue;
    }
    ASSIGN_OR_RETURN(const bolt::Bucket inner, cursor.bucket());
    std::cout << "bucket " << to_hex(cursor.key()) << ' ' << inner.sequence << '\n';
    RETURN_IF_ERROR(dump(database, inner));
    std::cout << "end\n";
  }
}

base::Result<> dump(env::FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, files.open(path, env::OpenMode::kRead));
  ASSIGN_OR_RETURN(const bolt::Database database, bolt::Database::open(*file));
  RETURN_IF_ERROR(bolt::check(database));
  return dump(database, database.root());
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  env::posix::Files files;
  base::Result<> result = base::fail(base::make_error(
      std::errc::invalid_argument, "bolt_file write FILE PAGE_BYTES | bolt_file dump FILE"));
  if (arguments.size() == 3 && arguments[0] == "write") {
    result = write(files, arguments[1], static_cast<std::uint32_t>(std::stoul(arguments[2])));
  } else if (arguments.size() == 2 && arguments[0] == "dump") {
    result = dump(files, arguments[1]);
  }
  if (result) return 0;
  std::cerr << result.error().message() << '\n';
  return 1;
}
