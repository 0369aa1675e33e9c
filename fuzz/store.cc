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

// A log of change sets whose checksums are in order, whatever they hold.
void read_log(Input& input, store::Volume& volume, std::string content) {
  store::LogPlace place{.length = content.size()};
  while (!input.empty()) {
    const std::string_view body = input.piece();
    if (body.empty()) break;
    std::string set;
    store::append_le(set, static_cast<std::uint32_t>(body.size()));
    set += body;
    std::string framed;
    store::append_le(framed, store::placed_crc(1, place.length, set));
    place.chain = base::crc32c(place.chain, framed + set.substr(0, 4));
    framed += set;
    framed.resize(store::round_up(framed.size(), store::kAlign));
    content += framed;
    place.length += framed.size();
  }
  CHECK(env::write_file(volume.files(), volume.path(store::log_name(1)), content).ok());
  auto log = store::BucketLog::open(volume, 1);
  CHECK(log.ok());
  CHECK((*log)->reaches(place));
  store::Buckets buckets;
  if (!(*log)->recover(place, buckets)) return;
  CHECK_EQ((*log)->place().length, place.length);
  MAYBE(buckets.hash_before_key().crc != buckets.hash_after_key().crc);
}

// A file whose header is in order, so that what stands behind it is reached.
void read_file(Input& input, std::uint8_t which) {
  env::simulated::Disk disk(1);
  CHECK(disk.make_directories("store").ok());
  store::Volume volume(disk, "store", kStoreId);
  CHECK(volume.start({.segment_bytes = 1 << 16, .reserve = false}).ok());
  const auto magic = which == 0   ? store::Magic::kLog
                     : which == 1 ? store::Magic::kSegment
                                  : store::Magic::kManifest;
  std::string content =
      store::encode(store::FileHeader{.magic = magic, .store_id = kStoreId, .file_id = 1});
  if (which == 0) return read_log(input, volume, std::move(content));
  content += input.rest();
  if (which == 1) {
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
  if (which == 3) {
    fuzz::parse_parts(input.rest());
  } else {
    fuzz::read_file(input, which);
  }
  return 0;
}
