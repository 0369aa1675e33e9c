#include "store/bucket_log.h"

#include <algorithm>

#include "base/crc32c.h"
#include "base/varint.h"
#include "store/format.h"

namespace keelson::store {
namespace {

constexpr std::size_t kSetHeadBytes = 8;

void encode(const base::BucketChange& change, std::string& out) {
  const auto bucket = static_cast<std::uint8_t>(change.bucket);
  out.push_back(static_cast<char>(bucket << 1 | (change.value ? 0 : 1)));
  base::put_varint(out, change.key.size());
  out.append(change.key);
  if (!change.value) return;
  base::put_varint(out, change.value->size());
  out.append(*change.value);
}

std::optional<std::string_view> take_bytes(std::string_view& in) {
  const auto length = base::take_varint(in);
  if (!length || *length > in.size()) return std::nullopt;
  const std::string_view bytes = in.substr(0, *length);
  in.remove_prefix(*length);
  return bytes;
}

// Takes one change off the front; nullopt if it is none.
std::optional<base::BucketChange> take_change(std::string_view& in) {
  const auto head = static_cast<std::uint8_t>(in.front());
  in.remove_prefix(1);
  if ((head >> 1) >= base::kBucketCount) return std::nullopt;
  base::BucketChange change{.bucket = static_cast<base::Bucket>(head >> 1)};
  const auto key = take_bytes(in);
  if (!key) return std::nullopt;
  change.key = *key;
  if ((head & 1) != 0) return change;
  const auto value = take_bytes(in);
  if (!value) return std::nullopt;
  change.value = std::string(*value);
  return change;
}

bool apply_body(std::string_view body, Buckets& buckets) {
  while (!body.empty()) {
    const auto change = take_change(body);
    if (!change) return false;
    buckets.apply(*change);
  }
  return true;
}

}  // namespace

base::Result<std::unique_ptr<BucketLog>> BucketLog::create(Volume& volume, std::uint64_t id,
                                                           base::WallTime now) {
  const FileHeader header{.magic = Magic::kLog,
                          .store_id = volume.store_id(),
                          .file_id = id,
                          .created_ns = now.time_since_epoch().count()};
  ASSIGN_OR_RETURN(auto file, volume.create(log_name(id), header));
  auto log = std::unique_ptr<BucketLog>(new BucketLog(volume, id, std::move(file)));
  log->place_.length = kFileHeaderBytes;
  return log;
}

base::Result<std::unique_ptr<BucketLog>> BucketLog::open(Volume& volume, std::uint64_t id) {
  const std::string path = volume.path(log_name(id));
  ASSIGN_OR_RETURN(auto file, volume.files().open(path, env::OpenMode::kReadWrite));
  RETURN_IF_ERROR(file->settle());
  ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
  auto log = std::unique_ptr<BucketLog>(new BucketLog(volume, id, std::move(file)));
  log->content_.resize(size);
  ASSIGN_OR_RETURN(const std::size_t got, log->file_->read_at(0, log->content_));
  log->content_.resize(got);
  ASSIGN_OR_RETURN(const FileHeader header, decode_file_header(log->content_, Magic::kLog, path));
  if (header.store_id != volume.store_id() || header.file_id != id) {
    return base::fail(corrupt(path, 16, "this store's id and the log's own"));
  }
  log->scan();
  return log;
}

void BucketLog::scan() {
  LogPlace place{.length = kFileHeaderBytes};
  places_.push_back(place);
  const std::string_view all = content_;
  while (all.size() - place.length >= kSetHeadBytes) {
    const std::string_view head = all.substr(place.length, kSetHeadBytes);
    const auto length = load_le<std::uint32_t>(head.data() + 4);
    if (length == 0 || length > all.size() - place.length - kSetHeadBytes) return;
    const std::string_view summed = all.substr(place.length + 4, 4 + length);
    if (load_le<std::uint32_t>(head.data()) != placed_crc(id_, place.length, summed)) return;
    place.chain = base::crc32c(place.chain, head);
    place.length = round_up(place.length + kSetHeadBytes + length, kAlign);
    if (place.length > all.size()) return;
    places_.push_back(place);
  }
}

bool BucketLog::reaches(LogPlace place) const {
  const auto it =
      std::lower_bound(places_.begin(), places_.end(), place.length,
                       [](const LogPlace& p, std::uint64_t length) { return p.length < length; });
  return it != places_.end() && *it == place;
}

base::Result<> BucketLog::recover(LogPlace place, Buckets& buckets) {
  CHECK(reaches(place));
  for (const LogPlace& at : places_) {
    if (at.length == place.length) break;
    const auto length = load_le<std::uint32_t>(&content_[at.length + 4]);
    const auto body = std::string_view(content_).substr(at.length + kSetHeadBytes, length);
    if (!apply_body(body, buckets)) {
      return base::fail(corrupt(file_->path(), at.length, "a change set"));
    }
  }
  const bool has_more = content_.size() > place.length;
  place_ = place;
  content_ = {};
  places_ = {};
  if (!has_more) return {};
  // What follows must not be met again behind what will be appended now.
  RETURN_IF_ERROR(file_->truncate(place.length));
  return file_->sync();
}

base::Result<> BucketLog::append(std::span<const base::BucketChange> changes) {
  if (changes.empty()) return {};
  std::string out(kSetHeadBytes, '\0');
  for (const base::BucketChange& change : changes) encode(change, out);
  const std::size_t length = out.size() - kSetHeadBytes;
  CHECK_LE(length, kPayloadBytesMax);
  store_le(&out[4], static_cast<std::uint32_t>(length));
  store_le(&out[0], placed_crc(id_, place_.length, std::string_view(out).substr(4)));
  place_.chain = base::crc32c(place_.chain, std::string_view(out).substr(0, kSetHeadBytes));
  out.resize(round_up(out.size(), kAlign));
  RETURN_IF_ERROR(volume_.with_reserve([&] { return file_->write_at(place_.length, out); }));
  place_.length += out.size();
  dirty_ = true;
  return {};
}

base::Result<> BucketLog::sync() {
  if (!dirty_) return {};
  RETURN_IF_ERROR(file_->sync());
  dirty_ = false;
  return {};
}

}  // namespace keelson::store
