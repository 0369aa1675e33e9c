// Stages a store from a db file of etcd's, as a follower does with one that a leader sends, and
// prints its records in the form of `bolt_file dump`.
//
//   stage_file FILE DIRECTORY

#include <iostream>
#include <limits>

#include "base/little_endian.h"
#include "env/posix/files.h"
#include "member/staged_store.h"
#include "store/snapshot.h"
#include "tests/bolt/hex.h"

namespace {

using namespace keelson;
using tests::to_hex;

base::Error no_index(const std::string& path) {
  return base::make_error(std::errc::bad_message, path + " has no consistent_index");
}

base::Result<raft::Index> index_of(const bolt::Database& database, const std::string& path) {
  bolt::Cursor buckets(database, database.root());
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, buckets.next());
    if (!more) return base::fail(no_index(path));
    if (buckets.key() != "meta") continue;
    ASSIGN_OR_RETURN(bolt::Bucket meta, buckets.bucket());
    bolt::Cursor keys(database, std::move(meta));
    for (;;) {
      ASSIGN_OR_RETURN(const bool more_keys, keys.next());
      if (!more_keys) return base::fail(no_index(path));
      if (keys.key() != base::kConsistentIndexKey || keys.value().size() != 8) continue;
      return std::byteswap(base::load_le<raft::Index>(keys.value().data()));
    }
  }
}

base::Result<> print(env::FileSystem& files, const std::string& path,
                     const store::Options& options) {
  ASSIGN_OR_RETURN(auto opened, store::Store::open(files, path, options));
  RETURN_IF_ERROR(
      opened.store->load([](std::string_view, std::span<const store::LiveRevision>) {}));
  const auto reader = store::make_reader(opened.store->snapshot(), {});
  constexpr auto kLast = std::numeric_limits<std::int64_t>::max();
  const auto scan = reader->scan({0, 0}, {kLast, kLast});
  for (;;) {
    const auto records = scan->next(1000);
    if (!records) return base::fail(base::make_error(std::errc::io_error, path));
    if (records->empty()) return {};
    for (const base::Record& record : *records) {
      std::cout << "put " << to_hex(base::revision_key(record.revision, record.tombstone)) << ' '
                << to_hex(record.encoded) << '\n';
    }
  }
}

base::Result<> run(const std::string& path, const std::string& directory) {
  env::posix::Files files;
  raft::Index index = 0;
  {
    ASSIGN_OR_RETURN(const auto file, files.open(path, env::OpenMode::kRead));
    ASSIGN_OR_RETURN(const bolt::Database database, bolt::Database::open(*file));
    ASSIGN_OR_RETURN(index, index_of(database, path));
  }
  member::Config config;
  config.data_dir = directory;
  const member::Paths paths = member::Paths::of(config);
  RETURN_IF_ERROR(files.make_directories(paths.member));
  const store::Options options = member::store_options(config, {}, 1, 0);
  ASSIGN_OR_RETURN(const auto import,
                   member::StoreImport::begin(files, paths, path, index, options));
  for (;;) {
    ASSIGN_OR_RETURN(const auto step, import->step());
    if (step != member::StoreImport::Step::kDone) continue;
    return print(files, member::staged_path(paths, index), options);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "stage_file FILE DIRECTORY\n";
    return 2;
  }
  const auto result = run(argv[1], argv[2]);
  if (result) return 0;
  std::cerr << result.error().message() << '\n';
  return 1;
}
