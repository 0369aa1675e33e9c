// UndecidedEntries: the entries that change nothing here for want of a record, written down
// (Applier P6).
//
// What decided them was this member's alone, and may be readable again: to a start that falls back
// to an older checkpoint and reads the record from the log, to a disk that comes round, to a member
// that is added later and is given the log. The state itself shows nothing of them, and no
// checkpoint can, for it is a checkpoint that such a start cannot take. So they have a file of
// their own beside the log:
//
//   <data-dir>/member/undecided     a line an entry: term, index, CRC-32C of these
//                                   "0000000000000002-00000000000001f4 5ab1c2d3\n"
//
// A line is durable before anything follows from it. The last one may be torn by a crash; nobody
// was told of it, and it goes at the next start. Anything else that does not match is an error: a
// start without it could decide anew. Entries that the log no longer has are dropped: their number
// is bounded by its files. Hardly any member ever has this file.
//
// Calls block. One lane at a time.
#pragma once

#include <memory>
#include <string>

#include "base/containers.h"
#include "base/result.h"
#include "env/file.h"
#include "raft/types.h"

namespace keelson::member {

class UndecidedEntries {
 public:
  // What a former life wrote down in this directory. Nothing is made if there is nothing.
  static base::Result<std::unique_ptr<UndecidedEntries>> open(env::FileSystem& files,
                                                              std::string directory,
                                                              std::string wal_directory);

  bool contains(const raft::Entry& entry) const {
    const auto it = entries_.find(entry.index);
    return it != entries_.end() && it->second == entry.term;
  }
  // 0: there are none.
  raft::Index newest() const { return entries_.empty() ? 0 : entries_.rbegin()->first; }
  // Of an index above all before. Durable when it returns; after an error it is in doubt, as all
  // that is written.
  base::Result<> add(const raft::Entry& entry);

 private:
  UndecidedEntries(env::FileSystem& files, std::string directory, std::string wal_directory);
  base::Result<> read();
  base::Result<bool> forget_what_the_log_has_not();
  base::Result<> write_anew();

  env::FileSystem& files_;
  const std::string directory_;
  const std::string path_;
  const std::string wal_directory_;
  base::OrderedMap<raft::Index, raft::Term> entries_;  // those of the file
  std::unique_ptr<env::File> file_;                    // once there is one
  std::size_t tidy_at_;  // beyond so many it is looked what the log still has
};

}  // namespace keelson::member
