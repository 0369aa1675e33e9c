// Snapshotter: the `.snap` files beside the log, and what else lies in their directory.
// formats.md 2.1, 2.3.
//
// A raft snapshot is kept as `%016x-%016x.snap` (term, index): the raftpb.Snapshot that peers get
// too, in a frame with its checksum. Its data is the membership (a v2 store dump, made by
// membership/); the keys are in the store. Order, always: the store's checkpoint, then save(), then
// the mark in the log, then purge.
//
//   snap/0000000000000002-0000000000002710.snap   a snapshot
//   snap/....snap.broken                          one that could not be read
//   snap/0000000000004e20.snap.db                 a database received from a leader, not yet
//   installed snap/tmp*, db.tmp.*                           unfinished work of a former life
//
// Calls block: for lanes that may. Not two at a time for one directory.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "env/file.h"
#include "raft/types.h"
#include "wal/error.h"

namespace keelson::wal {

struct SnapshotFile {
  std::string name;
  raft::Term term = 0;
  raft::Index index = 0;
};

class Snapshotter {
 public:
  // `directory` exists.
  Snapshotter(env::FileSystem& files, std::string directory)
      : files_(files), directory_(std::move(directory)) {}

  // Removes what a former life left unfinished. At start, before anything else. Their names.
  Result<std::vector<std::string>> remove_unfinished();

  // Writes and syncs the file and its name; replaces one of the same name. After an error there is
  // no file of that name that could be read. Needs: a snapshot that is not empty.
  Result<> save(const raft::Snapshot& snapshot);

  // The newest snapshot that can be read and has one of these marks in the log; nullopt if there is
  // none. A file that cannot be read is renamed `.broken` and passed over.
  struct Loaded {
    std::optional<raft::Snapshot> snapshot;
    std::vector<Error> broken;  // of the files set aside
  };
  Result<Loaded> load_newest(std::span<const raft::SnapshotMetadata> marks);
  // One file by its name, untouched whatever it holds.
  Result<raft::Snapshot> load(const std::string& name) const;
  // Newest first: greatest name.
  Result<std::vector<SnapshotFile>> list() const;

  // Where a database received for this index lies, or is to be put.
  std::string database_path(raft::Index index) const;
  Result<bool> has_database(raft::Index index) const;
  // Databases of an index below this one, which no start needs any more. Their names.
  Result<std::vector<std::string>> remove_databases_below(raft::Index index);

  // Removes the oldest `.snap` and `.snap.db` files beyond `max_files` of each. Their names.
  Result<std::vector<std::string>> purge(std::size_t max_files);

 private:
  Result<std::vector<std::string>> names() const;
  Result<std::vector<std::string>> remove_where(auto&& unwanted);
  std::string path_of(const std::string& name) const { return env::join_path(directory_, name); }

  env::FileSystem& files_;
  std::string directory_;
};

// The bytes of a `.snap` file, and back: the error says what is wrong.
std::string encode_snapshot_file(const raft::Snapshot& snapshot);
base::Result<raft::Snapshot, std::string> decode_snapshot_file(std::string_view bytes);

}  // namespace keelson::wal
