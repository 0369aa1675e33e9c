// A staged store: what a db file of etcd's becomes before it takes the place of the store.
// docs/design/0006-receiving-a-snapshot.md has the names, the steps and the table of what a start
// finds.
//
//   snap/<index>.snap.db --StoreImport--> store.import --(whole, durable)--> store.<index>
//   WAL snapshot record of <index>, then install_staged: store -> store.old, store.<index> -> store
//
// Invariants
//   S1  store.<index> is whole and durable, and its newest checkpoint is at <index>.
//   S2  An install is begun only when the snapshot record is durable, and any start completes it.
//   S3  What is staged has every record of the file's `key` bucket, and no other; anything in the
//       file that a store cannot have refuses it.
//
// Threads: all of it blocks; a worker, or a start before the lanes run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bolt/reader.h"
#include "env/file.h"
#include "member/boot.h"
#include "raft/types.h"
#include "store/store.h"

namespace keelson::member {

// Where the staged store of a snapshot lies once it is whole.
std::string staged_path(const Paths& paths, raft::Index index);

// Makes a staged store of a db file, a slice at a time.
class StoreImport {
 public:
  // The file must be the state at `index` (its consistent_index). Its size, half of that again and
  // two segments must be free (std::errc::no_space_on_device). `options` are those of the store to
  // be, with an id of its own.
  static base::Result<std::unique_ptr<StoreImport>> begin(env::FileSystem& files,
                                                          const Paths& paths,
                                                          const std::string& db_path,
                                                          raft::Index index,
                                                          store::Options options);
  // Destroyed before step() said true: what was made is removed.
  ~StoreImport();
  StoreImport(const StoreImport&) = delete;
  StoreImport& operator=(const StoreImport&) = delete;

  // Some hundred KB; true when the staged store is in its place. An error says what in the file is
  // not as it must be, or what the disk refused.
  base::Result<bool> step();

 private:
  StoreImport(env::FileSystem& files, const Paths& paths, std::unique_ptr<env::File> file,
              const bolt::Database& database, raft::Index index, store::Options options);
  base::Result<> open_store();
  base::Result<bool> next_bucket();
  base::Result<bool> take_records();
  base::Result<> take_changes(base::Bucket bucket);
  base::Result<> take_meta();
  base::Result<> append(std::shared_ptr<base::Batch> batch);
  base::Result<> work();
  base::Result<> complete();
  base::Error wrong(std::string_view expected) const;

  env::FileSystem& files_;
  const Paths paths_;
  const std::unique_ptr<env::File> file_;
  const bolt::Database database_;
  const raft::Index index_;
  const store::Options options_;
  raft::Term term_ = 0;  // of `index_`, from the file

  std::unique_ptr<store::Store> store_;
  base::TimePoint now_{};               // its time: nothing here waits for a pace
  std::shared_ptr<base::Batch> small_;  // the small buckets
  bolt::Cursor buckets_;
  std::optional<bolt::Cursor> records_;  // of `key`, while that is read
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
