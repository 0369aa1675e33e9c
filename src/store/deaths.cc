#include "store/deaths.h"

#include <fmt/format.h>

#include "base/crc32c.h"
#include "store/format.h"

namespace keelson::store {

bool Deaths::mark(std::size_t ordinal, std::uint64_t bytes) {
  if (is_dead(ordinal)) return false;
  if (words_.size() <= ordinal / 64) words_.resize(ordinal / 64 + 1);
  words_[ordinal / 64] |= std::uint64_t{1} << (ordinal % 64);
  records_++;
  bytes_ += bytes;
  return true;
}

base::Result<> write_dead_file(Volume& volume, std::uint64_t segment_id, std::uint64_t generation,
                               std::uint64_t records, const Deaths& deaths, base::WallTime now) {
  const FileHeader header{.magic = Magic::kDead,
                          .store_id = volume.store_id(),
                          .file_id = segment_id,
                          .created_ns = now.time_since_epoch().count(),
                          .flags = generation};
  std::string bitmap((records + 7) / 8, '\0');
  for (std::size_t i = 0; i < records; i++) {
    if (deaths.is_dead(i)) bitmap[i / 8] = static_cast<char>(bitmap[i / 8] | 1 << (i % 8));
  }
  std::string body;
  append_le(body, records);
  append_le<std::uint64_t>(body, base::crc32c(0, bitmap));
  body.append(bitmap);
  ASSIGN_OR_RETURN(auto file, volume.create(dead_name(segment_id, generation), header));
  RETURN_IF_ERROR(volume.with_reserve([&] { return file->write_at(kFileHeaderBytes, body); }));
  return file->sync();
}

base::Result<std::vector<std::uint32_t>> read_dead_file(Volume& volume, std::uint64_t segment_id,
                                                        std::uint64_t generation,
                                                        std::uint64_t records) {
  const std::string path = volume.path(dead_name(segment_id, generation));
  ASSIGN_OR_RETURN(const std::string bytes, env::read_file(volume.files(), path));
  ASSIGN_OR_RETURN(const FileHeader header, decode_file_header(bytes, Magic::kDead, path));
  if (header.store_id != volume.store_id() || header.file_id != segment_id ||
      header.flags != generation) {
    return base::fail(corrupt(path, 16, "the ids of its name and store"));
  }
  const std::string_view body = std::string_view(bytes).substr(kFileHeaderBytes);
  if (body.size() != 16 + (records + 7) / 8 || load_le<std::uint64_t>(body.data()) != records) {
    return base::fail(corrupt(path, kFileHeaderBytes, fmt::format("bits of {} records", records)));
  }
  const std::string_view bitmap = body.substr(16);
  if (load_le<std::uint64_t>(body.data() + 8) != base::crc32c(0, bitmap)) {
    return base::fail(corrupt(path, kFileHeaderBytes, "bits of their checksum"));
  }
  std::vector<std::uint32_t> ordinals;
  for (std::uint32_t i = 0; i < records; i++) {
    if ((static_cast<unsigned char>(bitmap[i / 8]) >> (i % 8) & 1) != 0) ordinals.push_back(i);
  }
  return ordinals;
}

}  // namespace keelson::store
