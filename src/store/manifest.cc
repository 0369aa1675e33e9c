#include "store/manifest.h"

#include "base/crc32c.h"
#include "store/format.h"

namespace keelson::store {
namespace {

constexpr std::uint64_t kSlotAt[2] = {512, 1024};
constexpr std::size_t kSlotBytes = 40;
constexpr std::uint64_t kBodiesAt = 4096;
constexpr std::size_t kBodyHeadBytes = 48;
constexpr std::size_t kRowBytes = 64;

struct Slot {
  std::uint64_t sequence = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::uint32_t body_crc = 0;
};

std::string encode(const Slot& slot) {
  std::string out(kSlotBytes, '\0');
  store_le(&out[4], slot.body_crc);
  store_le(&out[8], slot.sequence);
  store_le(&out[16], slot.offset);
  store_le(&out[24], slot.length);
  store_le(&out[0], base::crc32c(0, std::string_view(out).substr(4)));
  return out;
}

std::optional<Slot> decode_slot(std::string_view file, int which) {
  if (file.size() < kSlotAt[which] + kSlotBytes) return std::nullopt;
  const std::string_view in = file.substr(kSlotAt[which], kSlotBytes);
  if (load_le<std::uint32_t>(in.data()) != base::crc32c(0, in.substr(4))) return std::nullopt;
  const Slot slot{.sequence = load_le<std::uint64_t>(&in[8]),
                  .offset = load_le<std::uint64_t>(&in[16]),
                  .length = load_le<std::uint64_t>(&in[24]),
                  .body_crc = load_le<std::uint32_t>(&in[4])};
  if (slot.sequence == 0 || slot.sequence % 2 != static_cast<std::uint64_t>(which)) {
    return std::nullopt;
  }
  if (slot.offset > file.size() || slot.length > file.size() - slot.offset) return std::nullopt;
  if (base::crc32c(0, file.substr(slot.offset, slot.length)) != slot.body_crc) return std::nullopt;
  return slot;
}

}  // namespace

std::string encode(const ManifestState& state) {
  std::string out;
  out.reserve(kBodyHeadBytes + state.segments.size() * kRowBytes);
  append_le(out, state.next_segment_id);
  append_le(out, state.next_log_id);
  append_le(out, state.archived_to);
  append_le(out, state.collected_index);
  append_le(out, state.next_dead_generation);
  append_le<std::uint64_t>(out, state.segments.size());
  for (const SegmentRow& row : state.segments) {
    append_le(out, row.id);
    append_le(out, row.first.main);
    append_le(out, row.first.sub);
    append_le(out, row.end);
    append_le(out, row.array_offset);
    append_le(out, row.records);
    append_le(out, row.dead_generation);
    append_le<std::uint64_t>(out, 0);
  }
  return out;
}

std::optional<ManifestState> decode_manifest(std::string_view bytes) {
  if (bytes.size() < kBodyHeadBytes) return std::nullopt;
  const char* in = bytes.data();
  ManifestState state{.next_segment_id = load_le<std::uint64_t>(in),
                      .next_log_id = load_le<std::uint64_t>(in + 8),
                      .archived_to = load_le<std::int64_t>(in + 16),
                      .collected_index = load_le<std::uint64_t>(in + 24),
                      .next_dead_generation = load_le<std::uint64_t>(in + 32)};
  const auto count = load_le<std::uint64_t>(in + 40);
  const std::uint64_t rows_bytes = bytes.size() - kBodyHeadBytes;
  if (count == 0 || rows_bytes % kRowBytes != 0 || rows_bytes / kRowBytes != count) {
    return std::nullopt;
  }
  for (in += kBodyHeadBytes; in < bytes.data() + bytes.size(); in += kRowBytes) {
    const SegmentRow row{.id = load_le<std::uint64_t>(in),
                         .first = {load_le<std::int64_t>(in + 8), load_le<std::int64_t>(in + 16)},
                         .end = load_le<std::uint64_t>(in + 24),
                         .array_offset = load_le<std::uint64_t>(in + 32),
                         .records = load_le<std::uint64_t>(in + 40),
                         .dead_generation = load_le<std::uint64_t>(in + 48)};
    if (!state.segments.empty()) {
      const SegmentRow& before = state.segments.back();
      if (row.first < before.first || (row.sealed() && !before.sealed())) return std::nullopt;
    }
    state.segments.push_back(row);
  }
  if (state.segments.back().sealed()) return std::nullopt;  // the last one takes appends
  return state;
}

base::Result<Manifest::Opened> Manifest::open(Volume& volume) {
  const std::string path = volume.path(kManifestName);
  ASSIGN_OR_RETURN(auto file, volume.files().open(path, env::OpenMode::kCreate));
  ASSIGN_OR_RETURN(const bool locked, file->try_lock());
  if (!locked) {
    return base::fail(base::make_error(std::errc::device_or_resource_busy,
                                       "lock " + path + ": another process has this store"));
  }
  // What a process that was killed, or could not sync, has left. What follows from the valid slot
  // (files that it does not name are removed) must not be durable before it is.
  RETURN_IF_ERROR(file->settle());
  ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const std::size_t got, file->read_at(0, bytes));
  bytes.resize(got);

  Opened opened{.manifest = std::unique_ptr<Manifest>(new Manifest(volume, std::move(file)))};
  opened.manifest->file_end_ = got;
  std::optional<Slot> valid;
  for (int which : {0, 1}) {
    const auto slot = decode_slot(bytes, which);
    if (slot && (!valid || slot->sequence > valid->sequence)) valid = slot;
  }
  if (!valid) return opened;
  ASSIGN_OR_RETURN(const FileHeader header, decode_file_header(bytes, Magic::kManifest, path));
  opened.state = decode_manifest(std::string_view(bytes).substr(valid->offset, valid->length));
  if (!opened.state) {
    return base::fail(corrupt(path, valid->offset, "segments in ascending order"));
  }
  opened.store_id = header.store_id;
  opened.manifest->sequence_ = valid->sequence;
  opened.manifest->body_at_ = valid->offset;
  opened.manifest->body_bytes_ = valid->length;
  return opened;
}

base::Result<> Manifest::create(base::WallTime now) {
  const FileHeader header{.magic = Magic::kManifest,
                          .store_id = volume_.store_id(),
                          .created_ns = now.time_since_epoch().count()};
  RETURN_IF_ERROR(volume_.with_reserve([&]() -> base::Result<> {
    RETURN_IF_ERROR(file_->truncate(0));
    return file_->write_at(0, store::encode(header));
  }));
  file_end_ = kFileHeaderBytes;
  return {};
}

base::Result<> Manifest::save(const ManifestState& state) {
  const std::string body = encode(state);
  // Where the valid body does not lie, so that a torn save leaves it whole.
  const bool fits_before = sequence_ == 0 || kBodiesAt + body.size() <= body_at_;
  const std::uint64_t at = fits_before ? kBodiesAt : round_up(body_at_ + body_bytes_, kAlign);
  const Slot slot{.sequence = sequence_ + 1,
                  .offset = at,
                  .length = body.size(),
                  .body_crc = base::crc32c(0, body)};
  RETURN_IF_ERROR(volume_.with_reserve([&] { return file_->write_at(at, body); }));
  RETURN_IF_ERROR(file_->sync());
  const std::string encoded_slot = encode(slot);
  RETURN_IF_ERROR(volume_.with_reserve(
      [&] { return file_->write_at(kSlotAt[slot.sequence % 2], encoded_slot); }));
  RETURN_IF_ERROR(file_->sync());
  sequence_ = slot.sequence;
  body_at_ = at;
  body_bytes_ = body.size();
  file_end_ = std::max(file_end_, at + body.size());
  return {};
}

}  // namespace keelson::store
