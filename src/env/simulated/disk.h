// Disk: a file system in memory that fails as disks do: loses, tears and reorders what was not
// synced, flips bits, fills up, refuses calls. Same seed and same calls, same failures.
//
// A test uses it as it is, without scheduler or set-up:
//
//     simulated::Disk disk(seed);
//     ... run the code under test over `disk` ...
//     disk.crash(Disk::Crash::kRandom);
//     ... open again; everything acknowledged must be there ...
//
// Model. A file is an inode: its content as programs see it, its content on the platter, and the
// changes (writes, truncations, allocations) that a sync would carry from one to the other. A name
// is an entry of a directory and has the same three faces; sync_directory() carries over. A crash
// decides about each change that is still pending, and what programs see starts again from the
// platter.
//
// D1  What sync() covered is on the platter, and so is a name that sync_directory() covered.
// D2  What a crash may leave of a pending write are whole 512-byte sectors of it. Bytes of a lost
// sector
//     read as before the write; beyond the old end, as zeros.
// D3  Pending changes survive independently of each other, a later one without an earlier one too.
// Two
//     orders hold, as on every journaling file system: of changes to one name or of one file's
//     names, none survives an earlier one that was lost; and a rename happens at both its ends or
//     at neither.
// D4  A failed sync() or push_out() leaves its changes half done for good: on the platter or not,
//     never pending again, so that a second sync proves nothing, and to be seen by whoever reads
//     until power fails or settle() drops them. (So Linux does.) What fails in the background is
//     told to the next of these calls, whichever life makes it, and to that one only.
// D5  A File opened before a crash is dead: every call fails with EIO. Its locks are gone.
// D6  A write that fails has written whole blocks of the file system, up to some boundary of them:
//     a kernel takes a write page by page, and a page that it cannot take, block by block. Mostly
//     both are 4096 bytes; 512, the least that any has, make all the cuts that larger ones do.
//
// Paths may be relative; they then start at the root. There are no symbolic links, and permissions
// are kept but not enforced. One thread; no lane, no clock.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "env/file.h"

namespace keelson::env::simulated {

namespace internal {
struct Inode;
struct NameChange;
class DiskFile;
}  // namespace internal

class Disk final : public FileSystem {
 public:
  enum class Crash {
    kLoseUnsynced,  // power fails, and nothing that was pending had reached the platter
    kRandom,        // power fails; each pending change is lost, kept or (a write) torn
    kTear,          // the same, but each pending write is torn
    kKeepAll,       // the process dies, the machine lives on: all is there, and still pending
  };
  enum class Operation {
    kOpen,  // of a file that is there
    kRead,
    kStatus,
    kList,
    kSpace,
    kLock,
    // From here on they change the disk; these are the steps at which a crash makes a difference.
    kCreate,
    kWrite,
    kPushOut,
    kSync,
    kTruncate,
    kPreallocate,
    kMakeDirectory,
    kRename,
    kRemove,
    kLink,
    kSyncDirectory,
  };
  struct Step {
    Operation operation;
    std::string path;
    std::uint64_t bytes;   // of a read or write
    std::uint64_t number;  // of changing operations so far, this one included: 1 is the first
  };

  explicit Disk(std::uint64_t seed);
  ~Disk() override;  // open files must have gone

  // FileSystem.
  base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode,
                                           unsigned permissions = 0600) override;
  base::Result<std::optional<FileStatus>> status(const std::string& path) override;
  base::Result<std::vector<std::string>> list(const std::string& path) override;
  base::Result<> make_directories(const std::string& path) override;
  base::Result<> rename(const std::string& from, const std::string& to) override;
  base::Result<> remove(const std::string& path) override;
  base::Result<> remove_all(const std::string& path) override;
  base::Result<> link(const std::string& from, const std::string& to) override;
  base::Result<> sync_directory(const std::string& path) override;
  base::Result<Space> space(const std::string& path) override;

  // Crashes, and the machine is up again at once.
  void crash(Crash mode);
  // Crashes, and every call fails with EIO until power_on(): for a crash in the middle of code that
  // has still to be unwound and must not write into the next life.
  void cut(Crash mode);
  void power_on();
  bool is_off() const { return off_; }
  // cut(mode) just before the changing operation of this number (Step::number) begins. To crash a
  // story at each of its steps: run it once, read changes(), then again on fresh disks with 1, 2,
  // ...
  void cut_at(std::uint64_t number, Crash mode);
  // Changing operations so far.
  std::uint64_t changes() const { return changes_; }

  // Called before every operation, which fails with what the function returns (0: goes on). It may
  // crash or cut the disk, set failures, look at files.
  void on_operation(std::function<int(const Step&)> observer) { observer_ = std::move(observer); }
  // As on_operation, but only told, and after the observer let it pass: for a scheduler that makes
  // operations take time.
  void on_pace(std::function<void(const Step&)> pace) { pace_ = std::move(pace); }
  // The nth operation of this kind from now (1: the next) on a path that contains `path_part`
  // fails, and `times - 1` after it.
  struct Failure {
    Operation operation;
    int error_number;
    std::uint64_t nth = 1;
    std::uint64_t times = 1;
    std::string path_part = "";
  };
  void fail(Failure failure);
  void clear_failures() { failures_.clear(); }
  // The kernel cannot write what is pending of this file, and has nobody to tell yet (D4). False if
  // nothing is pending.
  bool fail_write_back(const std::string& path);
  // Files together may have so many bytes; what goes beyond fails with ENOSPC. A hole counts as
  // bytes.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  // try_read_at answers "cold" once in n; 0, as at the start: never.
  void set_cold_one_in(std::uint64_t n) { cold_one_in_ = n; }
  // Wear: turns one bit over, on the platter and in what programs see. CHECKs that the byte exists.
  void flip_bit(const std::string& path, std::uint64_t offset, unsigned bit = 0);

  // Bytes of all files that have a name, together.
  std::uint64_t used() const;
  // Path and content of every file, as programs see them, in order: to compare two disks, or two
  // lives.
  std::map<std::string, std::string> contents() const;

 private:
  friend class internal::DiskFile;
  using InodePtr = std::shared_ptr<internal::Inode>;
  static constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 40;
  struct Place {  // where a path leads: an entry of a directory, which may be empty
    InodePtr directory;
    std::string name;  // empty: the root itself
    InodePtr inode;    // nullptr: nothing of that name
  };

  // Every operation passes here first: counts, observes, fails. 0 or an error number.
  int begin(Operation operation, const std::string& path, std::uint64_t bytes = 0);
  int injected(Operation operation, const std::string& path);
  // The error number ENOENT or ENOTDIR if the way there is missing.
  base::Result<Place, int> find(const std::string& path) const;
  InodePtr make_inode(bool is_directory, unsigned permissions);
  void change_names(internal::NameChange change);
  base::Result<> make_directory(const std::string& path);
  bool has_pending_name(const InodePtr& inode) const;
  base::Result<> remove_tree(const std::string& path);
  void each_file(
      const std::function<void(const std::string&, const internal::Inode&)>& visit) const;
  void decide_contents(Crash mode);
  void decide_names(Crash mode);

  base::Random random_;
  InodePtr root_;
  std::vector<std::weak_ptr<internal::Inode>>
      inodes_;  // all that live, by age: crashes go in this order
  std::vector<internal::NameChange> pending_names_;  // by age, of all directories
  std::uint64_t life_ = 0;                           // a File of an earlier one is dead
  std::uint64_t open_files_ = 0;
  std::uint64_t changes_ = 0;
  bool off_ = false;
  std::uint64_t cut_at_ = 0;  // 0: not
  Crash cut_mode_ = Crash::kRandom;
  std::function<int(const Step&)> observer_;
  std::function<void(const Step&)> pace_;
  std::vector<Failure> failures_;
  std::uint64_t capacity_ = kUnlimited;
  std::uint64_t cold_one_in_ = 0;
};

}  // namespace keelson::env::simulated
