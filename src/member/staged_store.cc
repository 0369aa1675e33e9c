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

// Some 100 us of work: whoever wakes on the core meanwhile may have to wait for its end.
constexpr std::size_t kRecordsPerSlice = 200;
constexpr std::size_t kBytesPerSlice = 16 * 1024;
constexpr std::size_t kSealBytesPerSlice = 64 * 1024;
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

// `there` bytes of the file are on the disk already.
base::Result<> check_room(env::FileSystem& files, const Paths& paths, std::uint64_t file_bytes,
                          std::uint64_t there, const store::Options& options) {
  ASSIGN_OR_RETURN(const auto space, files.space(paths.member));
  // A length that no disk has would overflow below.
  const std::uint64_t to_come = file_bytes - std::min(file_bytes, there);
  const std::uint64_t needed =
      file_bytes > space.total ? file_bytes
                               : to_come + file_bytes + file_bytes / 2 + 2 * options.segment_bytes;
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
  std::unique_ptr<StoreImport> import(new StoreImport(files, paths, index, std::move(options)));
  ASSIGN_OR_RETURN(import->file_, files.open(db_path, env::OpenMode::kRead));
  import->whole_ = std::make_unique<bolt::WholeFile>(*import->file_);
  import->source_ = import->whole_.get();
  RETURN_IF_ERROR(files.remove_all(import_path(paths)));
  return import;
}

base::Result<std::unique_ptr<StoreImport>> StoreImport::begin(env::FileSystem& files,
                                                              const Paths& paths,
                                                              bolt::ComingFile& coming,
                                                              raft::Index index,
                                                              store::Options options) {
  std::unique_ptr<StoreImport> import(new StoreImport(files, paths, index, std::move(options)));
  import->coming_ = &coming;
  import->source_ = &coming;
  RETURN_IF_ERROR(files.remove_all(import_path(paths)));
  return import;
}

StoreImport::StoreImport(env::FileSystem& files, const Paths& paths, raft::Index index,
                         store::Options options)
    : files_(files),
      paths_(paths),
      index_(index),
      options_(std::move(options)),
      small_(std::make_shared<base::Batch>()) {}

StoreImport::~StoreImport() {
  store_.reset();
  // What a disk refuses to remove now, the next import or start removes.
  if (!is_complete_) MAYBE(files_.remove_all(import_path(paths_)).ok());
}

base::Error StoreImport::wrong(std::string_view expected) const {
  return base::make_error(std::errc::bad_message,
                          fmt::format("{}: expected {}", source_->path(), expected));
}

base::Result<StoreImport::Step> StoreImport::step() {
  if (!database_) return open_database();
  if (is_storing_) return store_some();
  if (small_ == nullptr) return take_its_place();
  if (!store_) return content_ ? take_place() : seek_place();
  if (content_) return bucket_ ? take_changes() : take_records();
  return next_bucket();
}

base::Result<StoreImport::Step> StoreImport::open_database() {
  ASSIGN_OR_RETURN(database_, bolt::Database::open_coming(*source_));
  if (!database_) return Step::kLater;
  if (source_->is_whole()) RETURN_IF_ERROR(database_->check_length());
  ASSIGN_OR_RETURN(const std::uint64_t there, source_->size());
  RETURN_IF_ERROR(check_room(files_, paths_, database_->bytes(), there, options_));
  if (coming_ != nullptr) coming_->set_page_bytes(database_->meta().page_bytes);
  buckets_.emplace(*database_, database_->root());
  return Step::kMore;
}

// The bucket that has the index and term of the whole file, before anything is made of it. What is
// read here is read once more.
base::Result<StoreImport::Step> StoreImport::seek_place() {
  for (;;) {
    ASSIGN_OR_RETURN(const auto next, buckets_->advance());
    if (next == bolt::Cursor::Next::kLater) return Step::kLater;
    if (next == bolt::Cursor::Next::kEnd) break;
    if (!buckets_->is_bucket() || buckets_->key() != base::bucket_name(base::Bucket::kMeta)) {
      continue;
    }
    ASSIGN_OR_RETURN(bolt::Bucket meta, buckets_->bucket());
    content_.emplace(*database_, std::move(meta));
    return Step::kMore;
  }
  if (!found_index_ || *found_index_ != index_) {
    return fail(wrong(fmt::format("consistent_index {}, found {}", index_,
                                  found_index_ ? fmt::format("{}", *found_index_) : "none")));
  }
  small_->set_applied(index_, term_);
  RETURN_IF_ERROR(open_store());
  buckets_.emplace(*database_, database_->root(), coming_);
  return Step::kMore;
}

base::Result<StoreImport::Step> StoreImport::take_place() {
  for (;;) {
    ASSIGN_OR_RETURN(const auto next, content_->advance());
    if (next == bolt::Cursor::Next::kLater) return Step::kLater;
    if (next == bolt::Cursor::Next::kEnd) break;
    if (content_->key() == base::kConsistentIndexKey) found_index_ = big_endian(content_->value());
    if (content_->key() == base::kTermKey) term_ = big_endian(content_->value()).value_or(0);
  }
  content_.reset();
  return Step::kMore;
}

base::Result<> StoreImport::open_store() {
  // Nothing starts from a part of it: a checkpoint a segment, with which that ends, is enough.
  store::Options options = options_;
  options.checkpoint_bytes = std::max(options.checkpoint_bytes, options.segment_bytes);
  options.checkpoint_interval = base::Duration::max() / 2;
  options.only_filled = true;
  options.collection_slice_bytes = std::min(options.collection_slice_bytes, kSealBytesPerSlice);
  ASSIGN_OR_RETURN(auto opened, store::Store::open(files_, import_path(paths_), options));
  store_ = std::move(opened.store);
  is_storing_ = true;
  return store_->load([](std::string_view, std::span<const store::LiveRevision>) {});
}

base::Result<StoreImport::Step> StoreImport::next_bucket() {
  ASSIGN_OR_RETURN(const auto next, buckets_->advance());
  if (next == bolt::Cursor::Next::kLater) return Step::kLater;
  if (next == bolt::Cursor::Next::kEnd) return complete();
  if (!buckets_->is_bucket()) return fail(wrong("buckets alone at its root"));
  bucket_ = bucket_of(buckets_->key());
  const bool is_keys = buckets_->key() == "key";
  if (!bucket_ && !is_keys) {
    env::log_warn("a snapshot has a bucket that is not known here; it is left out",
                  {{"bucket", buckets_->key()}});
    return Step::kMore;
  }
  has_keys_ = has_keys_ || is_keys;
  ASSIGN_OR_RETURN(bolt::Bucket content, buckets_->bucket());
  content_.emplace(*database_, std::move(content), coming_);
  return Step::kMore;
}

// They are few, and all of a batch of their own at the end.
base::Result<StoreImport::Step> StoreImport::take_changes() {
  for (;;) {
    ASSIGN_OR_RETURN(const auto next, content_->advance());
    if (next == bolt::Cursor::Next::kLater) return Step::kLater;
    if (next == bolt::Cursor::Next::kEnd) break;
    if (content_->is_bucket()) return fail(wrong("no bucket within another"));
    // The store's checkpoints have these.
    const bool is_place =
        *bucket_ == base::Bucket::kMeta &&
        (content_->key() == base::kConsistentIndexKey || content_->key() == base::kTermKey);
    if (!is_place) {
      small_->put(*bucket_, std::string(content_->key()), std::string(content_->value()));
    }
  }
  content_.reset();
  return Step::kMore;
}

base::Result<StoreImport::Step> StoreImport::take_records() {
  using Next = bolt::Cursor::Next;
  auto batch = std::make_shared<base::Batch>();
  batch->set_applied(index_, term_);
  Next next = Next::kElement;
  while (batch->records().size() < kRecordsPerSlice && batch->record_bytes() < kBytesPerSlice) {
    ASSIGN_OR_RETURN(next, content_->advance());
    if (next != Next::kElement) break;
    auto record =
        content_->is_bucket() ? std::nullopt : parse_record(content_->key(), content_->value());
    const auto last =
        batch->records().empty() ? std::nullopt : std::optional(batch->records().newest());
    // A tombstone's key is that of a put with a byte behind it: the two are no two revisions.
    if (!record || (last && *last >= record->revision)) {
      return fail(wrong("records of ascending revisions, each a KeyValue of its own revision"));
    }
    batch->add(*std::move(record));
  }
  if (!batch->records().empty()) RETURN_IF_ERROR(append(std::move(batch)));
  if (next == Next::kEnd) content_.reset();
  return next == Next::kLater ? Step::kLater : Step::kMore;
}

base::Result<> StoreImport::append(std::shared_ptr<base::Batch> batch) {
  if (!batch->records().empty() && store_->snapshot()->newest() >= batch->records().oldest()) {
    return fail(wrong("records of ascending revisions"));
  }
  RETURN_IF_ERROR(store_->append(std::move(batch)));
  return store_->checkpoint_due(now_) ? checkpoint() : base::Result<>();
}

base::Result<> StoreImport::checkpoint() {
  RETURN_IF_ERROR(store_->checkpoint(now_, options_.wall_now));
  is_storing_ = true;  // it may have ended a segment
  return {};
}

// A step of what the store would do in the background: footers of what has ended.
base::Result<StoreImport::Step> StoreImport::store_some() {
  ASSIGN_OR_RETURN(store::Step step, store_->step(now_, options_.wall_now));
  if (step.wait) {
    ASSIGN_OR_RETURN(step, store_->waited(step.wait(), now_));
  }
  is_storing_ = step.again.has_value();
  if (is_storing_) now_ = std::max(now_, *step.again);
  return Step::kMore;
}

// A walk may have come to its end before the file has, which must be whole even so (S4).
base::Result<StoreImport::Step> StoreImport::complete() {
  if (!has_keys_) return fail(wrong("a bucket `key`"));
  if (!source_->is_whole()) return Step::kLater;
  RETURN_IF_ERROR(database_->check_length());
  RETURN_IF_ERROR(append(std::exchange(small_, nullptr)));
  store_->end_tail();
  RETURN_IF_ERROR(checkpoint());
  return Step::kMore;
}

base::Result<StoreImport::Step> StoreImport::take_its_place() {
  store_.reset();
  const std::string staged = staged_path(paths_, index_);
  RETURN_IF_ERROR(files_.remove_all(staged));
  RETURN_IF_ERROR(rename_durably(files_, paths_, import_path(paths_), staged));
  is_complete_ = true;
  return Step::kDone;
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
