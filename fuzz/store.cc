// What the store reads from its files: single parts of the format, or a bucket log, a segment's
// footer or a manifest behind a header that is in order.

#include <string>

#include "base/check.h"
#include "env/simulated/disk.h"
#include "fuzz/input.h"
#include "store/bucket_log.h"
#include "store/footer.h"
#include "store/format.h"
#include "store/manifest.h"
#include "store/volume.h"

namespace keelson::fuzz {
namespace {

constexpr std::uint64_t kStoreId = 7;

void parse_parts(std::string_view bytes) {
  for (const auto magic : {store::Magic::kManifest, store::Magic::kSegment, store::Magic::kLog}) {
    MAYBE(store::decode_file_header(bytes, magic, "file").ok());
  }
  MAYBE(store::parse_name(bytes).has_value());
  MAYBE(store::parse_key_value(bytes).has_value());
  if (const auto state = store::decode_manifest(bytes)) {
    CHECK(store::decode_manifest(store::encode(*state)) == *state);
  }
  if (bytes.size() >= store::kRecordHeaderBytes) {
    const auto header = store::decode_record_header(bytes.data(), 1, 64);
    if (header)
      MAYBE(store::decode_checkpoint(*header, bytes.substr(store::kRecordHeaderBytes)).has_value());
  }
}

// A file whose header is in order, so that what stands behind it is reached.
void read_file(std::string_view bytes, std::uint8_t which) {
  env::simulated::Disk disk(1);
  CHECK(disk.make_directories("store").ok());
  store::Volume volume(disk, "store", kStoreId);
  CHECK(volume.start({.segment_bytes = 1 << 16, .reserve = false}).ok());
  const auto magic = which == 0   ? store::Magic::kLog
                     : which == 1 ? store::Magic::kSegment
                                  : store::Magic::kManifest;
  std::string content =
      store::encode(store::FileHeader{.magic = magic, .store_id = kStoreId, .file_id = 1});
  content += bytes;
  if (which == 0) {
    CHECK(env::write_file(disk, volume.path(store::log_name(1)), content).ok());
    auto log = store::BucketLog::open(volume, 1);
    store::Buckets buckets;
    if (log) MAYBE((*log)->recover((*log)->place(), buckets).ok());
  } else if (which == 1) {
    const std::string path = volume.path(store::segment_name(1));
    CHECK(env::write_file(disk, path, content).ok());
    auto file = disk.open(path, env::OpenMode::kRead);
    CHECK(file.ok());
    MAYBE(store::open_footer(**file, 1, content.size()).ok());
  } else {
    CHECK(env::write_file(disk, volume.path(store::kManifestName), content).ok());
    MAYBE(store::Manifest::open(volume).ok());
  }
}

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace keelson;
  fuzz::Input input(data, size);
  const std::uint8_t which = input.byte() % 4;
  const std::string_view bytes = input.rest();
  if (which == 3) {
    fuzz::parse_parts(bytes);
  } else {
    fuzz::read_file(bytes, which);
  }
  return 0;
}
