// A bbolt file, whatever it holds: it is refused with an error, or all of it is read in order.

#include <string>

#include "base/check.h"
#include "bolt/reader.h"
#include "env/simulated/disk.h"

namespace {

using namespace keelson;

// Reads a tree and those in it; false at the first error.
bool read_all(const bolt::Database& database, const bolt::Bucket& bucket, int depth) {
  bolt::Cursor cursor(database, bucket);
  std::string last;
  for (;;) {
    const auto more = cursor.next();
    if (!more) return false;
    if (!*more) return true;
    CHECK(last < cursor.key());
    last = cursor.key();
    if (!cursor.is_bucket() || depth == 0) continue;
    auto inner = cursor.bucket();
    if (!inner || !read_all(database, *std::move(inner), depth - 1)) return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  env::simulated::Disk disk(1);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  CHECK(env::write_file(disk, "/db", bytes).ok());
  const auto file = disk.open("/db", env::OpenMode::kRead).value();
  const auto database = bolt::Database::open(*file);
  if (!database) return 0;
  // Where pages may be used twice, buckets in buckets need have no end.
  constexpr int kDepthMax = 64;
  const bool is_whole = bolt::check(*database).ok();
  const bool is_readable = read_all(*database, database->root(), is_whole ? kDepthMax : 0);
  if (is_whole) CHECK(is_readable);
  return 0;
}
