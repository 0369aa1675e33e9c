// A .snap file of any bytes is a snapshot, or an error and set aside.

#include <string>

#include "base/check.h"
#include "env/simulated/disk.h"
#include "fuzz/input.h"
#include "wal/snapshotter.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace keelson;
  env::simulated::Disk disk(1);
  CHECK(disk.make_directories("snap").ok());
  const std::string name = "0000000000000002-0000000000000064.snap";
  CHECK(env::write_file(disk, "snap/" + name, {reinterpret_cast<const char*>(data), size}).ok());
  wal::Snapshotter snapshotter(disk, "snap");
  const auto loaded = snapshotter.load(name);
  const raft::SnapshotMetadata mark{.index = 100, .term = 2};
  const auto newest = snapshotter.load_newest({&mark, 1});
  CHECK(newest.ok());
  CHECK(!newest->snapshot || loaded.ok());
  if (loaded) {
    CHECK(snapshotter.save(*loaded).ok());
  }
  return 0;
}
