#include "member/staged_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "base/little_endian.h"
#include "env/log.h"
#include "mvcc/record.h"

namespace keelson::member {
namespace {

using base::fail;

constexpr std::size_t kRecordsPerSlice = 2000;
constexpr std::size_t kBytesPerSlice = 256 * 1024;
constexpr std::string_view kStagedPrefix = "store.";

std::string import_path(const Paths& paths) { return env::join_path(paths.member, "store.import"); }
std::string old_path(const Paths& paths) { return env::join_path(paths.member, "store.old"); }

// "store.00000000000003e8"; nullopt for any other name.
std::optional<raft::Index> staged_index(std::string_view name) {
  if (!name.starts_with(kStagedPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kStagedPrefix.size());
  raft::Index index = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), index, 16);
  if (digits.size() != 16 || ec != std::errc{} || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return index;
}

std::optional<std::uint64_t> big_endian(std::string_view bytes) {
  if (bytes.size() != sizeof(std::uint64_t)) return std::nullopt;
  return std::byteswap(base::load_le<std::uint64_t>(bytes.data()));
}

// formats.md 4.1
std::optional<base::Revision> parse_revision_key(std::string_view key) {
  const bool is_tombstone = key.size() == base::kTombstoneKeyBytes && key.back() == 't';
  if (key.size() != base::kRevisionKeyBytes && !is_tombstone) return std::nullopt;
  const base::Revision revision{.main = std::byteswap(base::load_le<std::int64_t>(key.data())),
                                .sub = std::byteswap(base::load_le<std::int64_t>(key.data() + 9))};
  if (key[8] != '_' || revision.main <= 0 || revision.sub < 0) return std::nullopt;
  return revision;
}

// What the index holds of it must be possible. An empty value is what a restore that lifts the
// revision leaves.
bool is_possible(const mvcc::KeyValueView& kv, base::Revision revision, bool is_tombstone) {
  if (is_tombstone) return !kv.key.empty();
  return !kv.key.empty() && kv.mod_revision == revision.main && kv.version > 0 &&
         kv.create_revision > 0 && kv.create_revision <= kv.mod_revision;
}

std::optional<base::Record> parse_record(std::string_view key, std::string_view value) {
  const auto revision = parse_revision_key(key);
  const auto kv = mvcc::decode(value);
  if (!revision || !kv) return std::nullopt;
  const bool is_tombstone = key.size() == base::kTombstoneKeyBytes;
  if (!value.empty() && !is_possible(*kv, *revision, is_tombstone)) return std::nullopt;
  return base::Record{.revision = *revision,
                      .tombstone = is_tombstone,
                      .create_revision = is_tombstone ? 0 : kv->create_revision,
                      .version = is_tombstone ? 0 : kv->version,
                      .lease = is_tombstone ? 0 : kv->lease,
                      .encoded = base::SharedBytes::copy_of(value)};
}

std::optional<base::Bucket> bucket_of(std::string_view name) {
  for (std::size_t i = 0; i < base::kBucketCount; i++) {
    const auto bucket = static_cast<base::Bucket>(i);
    if (base::bucket_name(bucket) == name) return bucket;
  }
  return std::nullopt;
}

base::Result<> check_room(env::FileSystem& files, const Paths& paths, std::uint64_t file_bytes,
                          const store::Options& options) {
  const std::uint64_t needed = file_bytes + file_bytes / 2 + 2 * options.segment_bytes;
  ASSIGN_OR_RETURN(const auto space, files.space(paths.member));
  if (space.available >= needed) return {};
  return fail(base::make_error(
      std::errc::no_space_on_device,
      fmt::format("staging a snapshot of {} bytes in {} needs {} bytes, and {} are free",
                  file_bytes, paths.member, needed, space.available)));
}

base::Result<> rename_durably(env::FileSystem& files, const Paths& paths, const std::string& from,
                              const std::string& to) {
  RETURN_IF_ERROR(files.rename(from, to));
  return files.sync_directory(paths.member);
}

}  // namespace

std::string staged_path(const Paths& paths, raft::Index index) {
  return env::join_path(paths.member, fmt::format("{}{:016x}", kStagedPrefix, index));
}

base::Result<std::unique_ptr<StoreImport>> StoreImport::begin(env::FileSystem& files,
                                                              const Paths& paths,
                                                              const std::string& db_path,
                                                              raft::Index index,
                                                              store::Options options) {
  ASSIGN_OR_RETURN(auto file, files.open(db_path, env::OpenMode::kRead));
  ASSIGN_OR_RETURN(const bolt::Database database, bolt::Database::open(*file));
  RETURN_IF_ERROR(files.remove_all(import_path(paths)));
  RETURN_IF_ERROR(check_room(files, paths, database.bytes(), options));
  std::unique_ptr<StoreImport> import(
      new StoreImport(files, paths, std::move(file), database, index, std::move(options)));
  RETURN_IF_ERROR(import->take_meta());
  RETURN_IF_ERROR(import->open_store());
  return import;
}

StoreImport::StoreImport(env::FileSystem& files, const Paths& paths,
                         std::unique_ptr<env::File> file, const bolt::Database& database,
                         raft::Index index, store::Options options)
    : files_(files),
      paths_(paths),
      file_(std::move(file)),
      database_(database),
      index_(index),
      options_(std::move(options)),
      small_(std::make_shared<base::Batch>()),
      buckets_(database_, database_.root()) {}

StoreImport::~StoreImport() {
  store_.reset();
  // What a disk refuses to remove now, the next import or start removes.
  if (!is_complete_) MAYBE(files_.remove_all(import_path(paths_)).ok());
}

base::Error StoreImport::wrong(std::string_view expected) const {
  return base::make_error(std::errc::bad_message,
                          fmt::format("{}: expected {}", file_->path(), expected));
}

// The index and term of the whole file, before anything is made of it.
base::Result<> StoreImport::take_meta() {
  std::optional<std::uint64_t> index, term;
  bolt::Cursor buckets(database_, database_.root());
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, buckets.next());
    if (!more) break;
    if (!buckets.is_bucket() || buckets.key() != base::bucket_name(base::Bucket::kMeta)) continue;
    ASSIGN_OR_RETURN(bolt::Bucket meta, buckets.bucket());
    bolt::Cursor cursor(database_, std::move(meta));
    for (;;) {
      ASSIGN_OR_RETURN(const bool more_keys, cursor.next());
      if (!more_keys) break;
      if (cursor.key() == base::kConsistentIndexKey) index = big_endian(cursor.value());
      if (cursor.key() == base::kTermKey) term = big_endian(cursor.value());
    }
  }
  if (!index || *index != index_) {
    return fail(wrong(fmt::format("consistent_index {}, found {}", index_,
                                  index ? fmt::format("{}", *index) : "none")));
  }
  term_ = term.value_or(0);
  small_->set_applied(index_, term_);
  return {};
}

base::Result<> StoreImport::open_store() {
  // Nothing starts from a part of it: a checkpoint a segment, with which that ends, is enough.
  store::Options options = options_;
  options.checkpoint_bytes = std::max(options.checkpoint_bytes, options.segment_bytes);
  options.checkpoint_interval = base::Duration::max() / 2;
  ASSIGN_OR_RETURN(auto opened, store::Store::open(files_, import_path(paths_), options));
  store_ = std::move(opened.store);
  return store_->load([](std::string_view, std::span<const store::LiveRevision>) {});
}

base::Result<bool> StoreImport::step() {
  if (records_) {
    ASSIGN_OR_RETURN(const bool is_last, take_records());
    if (is_last) records_.reset();
    return false;
  }
  ASSIGN_OR_RETURN(const bool more, next_bucket());
  if (more) return false;
  if (!has_keys_) return fail(wrong("a bucket `key`"));
  RETURN_IF_ERROR(complete());
  is_complete_ = true;
  return true;
}

base::Result<bool> StoreImport::next_bucket() {
  ASSIGN_OR_RETURN(const bool more, buckets_.next());
  if (!more) return false;
  if (!buckets_.is_bucket()) return fail(wrong("buckets alone at its root"));
  if (buckets_.key() == "key") {
    ASSIGN_OR_RETURN(bolt::Bucket keys, buckets_.bucket());
    records_.emplace(database_, std::move(keys));
    has_keys_ = true;
    return true;
  }
  if (const auto bucket = bucket_of(buckets_.key())) {
    RETURN_IF_ERROR(take_changes(*bucket));
  } else {
    env::log_warn("a snapshot has a bucket that is not known here; it is left out",
                  {{"bucket", buckets_.key()}});
  }
  return true;
}

// They are few, and all of a batch of their own at the end.
base::Result<> StoreImport::take_changes(base::Bucket bucket) {
  ASSIGN_OR_RETURN(bolt::Bucket content, buckets_.bucket());
  bolt::Cursor cursor(database_, std::move(content));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, cursor.next());
    if (!more) return {};
    if (cursor.is_bucket()) return fail(wrong("no bucket within another"));
    // The store's checkpoints have these.
    const bool is_place =
        bucket == base::Bucket::kMeta &&
        (cursor.key() == base::kConsistentIndexKey || cursor.key() == base::kTermKey);
    if (!is_place) small_->put(bucket, std::string(cursor.key()), std::string(cursor.value()));
  }
}

// True at the end of them.
base::Result<bool> StoreImport::take_records() {
  auto batch = std::make_shared<base::Batch>();
  batch->set_applied(index_, term_);
  bool more = true;
  while (batch->records().size() < kRecordsPerSlice && batch->record_bytes() < kBytesPerSlice) {
    ASSIGN_OR_RETURN(more, records_->next());
    if (!more) break;
    auto record =
        records_->is_bucket() ? std::nullopt : parse_record(records_->key(), records_->value());
    const auto last =
        batch->records().empty() ? std::nullopt : std::optional(batch->records().back().revision);
    // A tombstone's key is that of a put with a byte behind it: the two are no two revisions.
    if (!record || (last && *last >= record->revision)) {
      return fail(wrong("records of ascending revisions, each a KeyValue of its own revision"));
    }
    batch->add(*std::move(record));
  }
  if (!batch->records().empty()) RETURN_IF_ERROR(append(std::move(batch)));
  return !more;
}

base::Result<> StoreImport::append(std::shared_ptr<base::Batch> batch) {
  if (!batch->records().empty() &&
      store_->snapshot()->newest() >= batch->records().front().revision) {
    return fail(wrong("records of ascending revisions"));
  }
  RETURN_IF_ERROR(store_->append(std::move(batch)));
  if (store_->checkpoint_due(now_)) {
    RETURN_IF_ERROR(store_->checkpoint(now_, options_.wall_now));
  }
  return work();
}

// All that the store would do in the background: footers of what has ended.
base::Result<> StoreImport::work() {
  for (;;) {
    ASSIGN_OR_RETURN(store::Step step, store_->step(now_, options_.wall_now));
    while (step.wait) {
      ASSIGN_OR_RETURN(step, store_->waited(step.wait(), now_));
    }
    if (!step.again) return {};
    now_ = std::max(now_, *step.again);
  }
}

base::Result<> StoreImport::complete() {
  RETURN_IF_ERROR(append(std::move(small_)));
  RETURN_IF_ERROR(store_->checkpoint(now_, options_.wall_now));
  RETURN_IF_ERROR(work());
  store_.reset();
  const std::string staged = staged_path(paths_, index_);
  RETURN_IF_ERROR(files_.remove_all(staged));
  return rename_durably(files_, paths_, import_path(paths_), staged);
}

base::Result<> install_staged(env::FileSystem& files, const Paths& paths, raft::Index index) {
  ASSIGN_OR_RETURN(const auto store, files.status(paths.store));
  if (store) {
    RETURN_IF_ERROR(files.remove_all(old_path(paths)));
    RETURN_IF_ERROR(rename_durably(files, paths, paths.store, old_path(paths)));
  }
  return rename_durably(files, paths, staged_path(paths, index), paths.store);
}

base::Result<> remove_replaced(env::FileSystem& files, const Paths& paths) {
  return files.remove_all(old_path(paths));
}

base::Result<> remove_staged(env::FileSystem& files, const Paths& paths, raft::Index applied) {
  ASSIGN_OR_RETURN(const auto names, files.list(paths.member));
  for (const std::string& name : names) {
    const auto index = staged_index(name);
    if (index && *index <= applied) {
      RETURN_IF_ERROR(files.remove_all(env::join_path(paths.member, name)));
    }
  }
  return {};
}

base::Result<bool> complete_install(env::FileSystem& files, const Paths& paths,
                                    raft::Index newest) {
  ASSIGN_OR_RETURN(const auto staged, files.status(staged_path(paths, newest)));
  if (staged) {
    RETURN_IF_ERROR(install_staged(files, paths, newest));
    env::log_info("installed the staged store of a snapshot", {{"snapshot-index", newest}});
  }
  ASSIGN_OR_RETURN(const auto names, files.list(paths.member));
  for (const std::string& name : names) {
    const std::string path = env::join_path(paths.member, name);
    if (staged_index(name) || path == import_path(paths) || path == old_path(paths)) {
      RETURN_IF_ERROR(files.remove_all(path));
    }
  }
  return staged.has_value();
}

}  // namespace keelson::member
