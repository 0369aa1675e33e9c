// A staged store: what a db file of etcd's becomes before it takes the place of the store.
// docs/design/0006-receiving-a-snapshot.md has the names, the steps and the table of what a start
// finds.
//
//   snap/tmp-<index>.db, as it comes --StoreImport--> store.import --(all of it)--> store.<index>
//   snap/<index>.snap.db, whole      --StoreImport--> store.import --(all of it)--> store.<index>
//   WAL snapshot record of <index>, then install_staged: store -> store.old, store.<index> -> store
//
// Invariants
//   S1  store.<index> is whole and durable, and its newest checkpoint is at <index>.
//   S2  An install is begun only when the snapshot record is durable, and any start completes it.
//   S3  What is staged has every record of the file's `key` bucket, and no other; anything in the
//       file that a store cannot have refuses it.
//   S4  Nothing is staged before the file has come whole.
//
// Threads: all of it blocks; a worker, or a start before the lanes run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bolt/coming_file.h"
#include "bolt/reader.h"
#include "env/file.h"
#include "member/boot.h"
#include "raft/types.h"
#include "store/store.h"

namespace keelson::member {

// Where the staged store of a snapshot lies once it is whole.
std::string staged_path(const Paths& paths, raft::Index index);

// Makes a staged store of a db file, a slice at a time, while the file comes or afterwards.
//
//   Opening --the metas--> Seeking --consistent_index--> Reading --the last bucket--> Placing
//
// Where a segment has ended it is Storing for some steps, until that has its footer.
//
// A page that has not come yet holds the walk up where it is, and no thread: step() says kLater.
class StoreImport {
 public:
  // The file must be the state at `index` (its consistent_index). What has not come of it, its
  // size, half of that again and two segments must be free (std::errc::no_space_on_device), which
  // is asked as soon as its length is known. `options` are those of the store to be, with an id of
  // its own.
  static base::Result<std::unique_ptr<StoreImport>> begin(env::FileSystem& files,
                                                          const Paths& paths,
                                                          const std::string& db_path,
                                                          raft::Index index,
                                                          store::Options options);
  // Of a file that comes, and outlives it; it is told which pages are not needed again.
  static base::Result<std::unique_ptr<StoreImport>> begin(env::FileSystem& files,
                                                          const Paths& paths,
                                                          bolt::ComingFile& coming,
                                                          raft::Index index,
                                                          store::Options options);
  // Destroyed before step() said kDone: what was made is removed.
  ~StoreImport();
  StoreImport(const StoreImport&) = delete;
  StoreImport& operator=(const StoreImport&) = delete;

  enum class Step {
    kMore,
    kLater,  // not before more has come, or its end
    kDone,   // the staged store is in its place
  };
  // Some 16 KB of a file, or a step of the store's. An error says what in the file is not as it
  // must be, or what the disk refused.
  base::Result<Step> step();

 private:
  StoreImport(env::FileSystem& files, const Paths& paths, raft::Index index,
              store::Options options);
  base::Result<Step> open_database();
  base::Result<Step> seek_place();
  base::Result<Step> take_place();
  base::Result<> open_store();
  base::Result<Step> next_bucket();
  base::Result<Step> take_records();
  base::Result<Step> take_changes();
  base::Result<> append(std::shared_ptr<base::Batch> batch);
  base::Result<> checkpoint();
  base::Result<Step> store_some();
  base::Result<Step> complete();
  base::Result<Step> take_its_place();
  base::Error wrong(std::string_view expected) const;

  env::FileSystem& files_;
  const Paths paths_;
  const raft::Index index_;
  const store::Options options_;
  std::unique_ptr<env::File> file_;  // of one that is whole
  std::unique_ptr<bolt::WholeFile> whole_;
  bolt::ComingFile* coming_ = nullptr;
  const bolt::Source* source_ = nullptr;  // either
  std::optional<bolt::Database> database_;

  // Of `index_`, from the file.
  std::optional<raft::Index> found_index_;
  raft::Term term_ = 0;

  std::unique_ptr<store::Store> store_;
  base::TimePoint now_{};               // its time: nothing here waits for a pace
  bool is_storing_ = false;             // it may have background work
  std::shared_ptr<base::Batch> small_;  // the small buckets; null once all is appended
  std::optional<bolt::Cursor> buckets_;
  // Of the bucket that is being read, and which that is: nullopt for `key`.
  std::optional<bolt::Cursor> content_;
  std::optional<base::Bucket> bucket_;
  bool has_keys_ = false;
  bool is_complete_ = false;
};

// Puts store.<index> in the place of the store, whose files stay readable for those who have them
// open. Only after the WAL's snapshot record.
base::Result<> install_staged(env::FileSystem& files, const Paths& paths, raft::Index index);
// Removes the store that an install has replaced.
base::Result<> remove_replaced(env::FileSystem& files, const Paths& paths);

// Removes stores that were staged up to `applied` and not installed: raft had come further
// meanwhile.
base::Result<> remove_staged(env::FileSystem& files, const Paths& paths, raft::Index applied);

// What a start does first: completes the install of the snapshot that the log ends up at, if one
// was begun, and removes what is left of others. True if something was installed.
base::Result<bool> complete_install(env::FileSystem& files, const Paths& paths, raft::Index newest);

}  // namespace keelson::member
