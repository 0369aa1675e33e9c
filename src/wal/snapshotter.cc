#include "wal/snapshotter.h"

#include <algorithm>
#include <charconv>

#include "base/crc32c.h"
#include "base/varint.h"
#include "proto/snap.pb.h"
#include "raft/wire.h"

namespace keelson::wal {

namespace {

constexpr std::string_view kSnapshotSuffix = ".snap";
constexpr std::string_view kDatabaseSuffix = ".snap.db";
constexpr std::size_t kHexDigits = 16;

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != kHexDigits || error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::string snapshot_name(raft::Term term, raft::Index index) {
  return fmt::format("{:016x}-{:016x}{}", term, index, kSnapshotSuffix);
}

std::optional<SnapshotFile> parse_snapshot_name(const std::string& name) {
  if (name.size() != 2 * kHexDigits + 1 + kSnapshotSuffix.size() ||
      !name.ends_with(kSnapshotSuffix) || name[kHexDigits] != '-') {
    return std::nullopt;
  }
  const auto term = parse_hex(std::string_view(name).substr(0, kHexDigits));
  const auto index = parse_hex(std::string_view(name).substr(kHexDigits + 1, kHexDigits));
  if (!term || !index) return std::nullopt;
  return SnapshotFile{.name = name, .term = *term, .index = *index};
}

std::optional<raft::Index> parse_database_name(std::string_view name) {
  if (!name.ends_with(kDatabaseSuffix)) return std::nullopt;
  return parse_hex(name.substr(0, name.size() - kDatabaseSuffix.size()));
}

}  // namespace

std::string encode_snapshot_file(const raft::Snapshot& snapshot) {
  const std::string data = raft::encode(snapshot);
  std::string out;
  base::put_varint_field(out, 1, base::crc32c(0, data));
  base::put_message_field(out, 2, data);
  return out;
}

base::Result<raft::Snapshot, std::string> decode_snapshot_file(std::string_view bytes) {
  snappb::snapshot frame;
  if (bytes.size() > INT32_MAX ||
      !frame.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return base::fail(fmt::format("{} bytes that are no snapshot frame", bytes.size()));
  }
  if (frame.data().empty() || frame.crc() == 0) return base::fail(std::string("an empty snapshot"));
  const std::uint32_t computed = base::crc32c(0, frame.data());
  if (computed != frame.crc()) {
    return base::fail(
        fmt::format("checksum {:08x} stored, {:08x} computed", frame.crc(), computed));
  }
  auto snapshot = raft::decode_snapshot(base::SharedBytes(std::move(*frame.mutable_data())));
  if (!snapshot)
    return base::fail(std::string("the checksum is right, but it is no raft snapshot"));
  return std::move(snapshot).value();
}

Result<std::vector<std::string>> Snapshotter::names() const {
  ASSIGN_OR_RETURN(auto names, files_.list(directory_));
  return names;
}

Result<std::vector<std::string>> Snapshotter::remove_where(auto&& unwanted) {
  ASSIGN_OR_RETURN(const auto there, names());
  std::vector<std::string> removed;
  for (const std::string& name : there) {
    if (!unwanted(name)) continue;
    RETURN_IF_ERROR(files_.remove(path_of(name)));
    removed.push_back(name);
  }
  return removed;
}

Result<std::vector<std::string>> Snapshotter::remove_unfinished() {
  return remove_where([](const std::string& name) {
    return name.starts_with("tmp") || name.starts_with("db.tmp");
  });
}

Result<> Snapshotter::save(const raft::Snapshot& snapshot) {
  CHECK(!snapshot.empty());
  const std::string path = path_of(snapshot_name(snapshot.metadata.term, snapshot.metadata.index));
  const auto write = [&]() -> base::Result<> {
    RETURN_IF_ERROR(env::write_file(files_, path, encode_snapshot_file(snapshot), 0666));
    return files_.sync_directory(directory_);
  };
  auto written = write();
  if (!written) {
    MAYBE(files_.remove(path).ok());  // what could not be finished cannot be read either
    return base::fail(Error(std::move(written).error()));
  }
  return {};
}

Result<raft::Snapshot> Snapshotter::load(const std::string& name) const {
  ASSIGN_OR_RETURN(const std::string bytes, env::read_file(files_, path_of(name)));
  auto snapshot = decode_snapshot_file(bytes);
  if (!snapshot) return base::fail(Error(Errc::kBadRecord, path_of(name), 0, snapshot.error()));
  return std::move(snapshot).value();
}

Result<std::vector<SnapshotFile>> Snapshotter::list() const {
  ASSIGN_OR_RETURN(const auto there, names());
  std::vector<SnapshotFile> snapshots;
  for (const std::string& name : there) {
    if (auto snapshot = parse_snapshot_name(name)) snapshots.push_back(std::move(*snapshot));
  }
  std::sort(snapshots.begin(), snapshots.end(),
            [](const auto& a, const auto& b) { return a.name > b.name; });
  return snapshots;
}

Result<Snapshotter::Loaded> Snapshotter::load_newest(
    std::span<const raft::SnapshotMetadata> marks) {
  Loaded loaded;
  ASSIGN_OR_RETURN(const auto newest_first, list());
  for (const SnapshotFile& file : newest_first) {
    auto snapshot = load(file.name);
    if (!snapshot) {
      // A disk that does not answer says nothing about the file.
      if (snapshot.error().code == Errc::kIo) return base::fail(std::move(snapshot).error());
      RETURN_IF_ERROR(files_.rename(path_of(file.name), path_of(file.name + ".broken")));
      loaded.broken.push_back(std::move(snapshot).error());
      continue;
    }
    const bool marked = std::any_of(marks.begin(), marks.end(), [&](const auto& mark) {
      return mark.index == snapshot->metadata.index && mark.term == snapshot->metadata.term;
    });
    if (!marked) continue;
    loaded.snapshot = std::move(snapshot).value();
    break;
  }
  return loaded;
}

std::string Snapshotter::database_path(raft::Index index) const {
  return path_of(fmt::format("{:016x}{}", index, kDatabaseSuffix));
}

Result<bool> Snapshotter::has_database(raft::Index index) const {
  ASSIGN_OR_RETURN(const auto status, files_.status(database_path(index)));
  return status.has_value();
}

Result<std::vector<std::string>> Snapshotter::remove_databases_below(raft::Index index) {
  return remove_where([&](const std::string& name) {
    const auto found = parse_database_name(name);
    return found && *found < index;
  });
}

Result<std::vector<std::string>> Snapshotter::purge(std::size_t max_files) {
  std::vector<std::string> removed;
  for (const std::string_view suffix : {kSnapshotSuffix, kDatabaseSuffix}) {
    ASSIGN_OR_RETURN(auto there, names());
    std::erase_if(there, [&](const std::string& name) { return !name.ends_with(suffix); });
    for (std::size_t i = 0; i + max_files < there.size(); i++) {
      RETURN_IF_ERROR(files_.remove(path_of(there[i])));
      removed.push_back(there[i]);
    }
  }
  return removed;
}

}  // namespace keelson::wal
