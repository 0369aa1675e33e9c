// Files and directories. Calls block: they belong to lanes that may (log, store, worker), but for
// try_read_at, which answers kCold instead.
//
// A write or sync that failed leaves durability in doubt; whoever called stops the process (docs:
// STYLE of errors in ARCHITECTURE). Paths are absolute or relative to the working directory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace keelson::env {

class File {
 public:
  static constexpr std::size_t kPageBytes = 4096;  // of what bypass_cache speaks of

  virtual ~File() = default;  // closes, releases locks

  // Exactly out.size() bytes unless the file ends first; returns how many. Any thread.
  virtual base::Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const = 0;
  // As read_at, but only what is in memory: nullopt ("cold") if any part of it would wait for the
  // disk. A short answer of the kernel counts as cold, so what reaches past the end of the file
  // always does.
  virtual std::optional<base::Result<std::size_t>> try_read_at(std::uint64_t offset,
                                                               std::span<char> out) const = 0;
  // All of the parts, one after the other, at `offset`. After an error any prefix may have been
  // written.
  virtual base::Result<> write_at(std::uint64_t offset,
                                  std::span<const std::string_view> parts) = 0;
  base::Result<> write_at(std::uint64_t offset, std::string_view bytes) {
    return write_at(offset, std::span(&bytes, 1));
  }
  // fdatasync: bytes and size are durable when it returns; the name is not (sync_directory). After
  // an error nobody knows what is, and a second sync that succeeds says nothing about the bytes of
  // the first.
  virtual base::Result<> sync() = 0;
  // From now on reads show what the disk holds: syncs, then drops what memory has of the file. What
  // a former life of this process may have failed to sync is settled before it is read. For of
  // bytes that could not be written the kernel tells once, and then counts them as written: readers
  // see them for as long as there is memory, no later sync carries them to the disk, and a power
  // failure takes them. docs/design/0008-failed-syncs.md
  virtual base::Result<> settle() = 0;
  // Starts write-back of a range (sync_file_range WRITE); with `wait`, waits for it too. A hint
  // about pace, no promise about durability. But an error is one of writing: the kernel tells it
  // once, so it weighs as much as that of a sync.
  virtual base::Result<> push_out(std::uint64_t offset, std::uint64_t length, bool wait) = 0;
  // For a file that is written and not read again: from now on whole pages (kPageBytes, by offset,
  // length and address in memory) are written around the page cache where the file system can, and
  // nothing is read through this File. A hint; what else is written is written as ever.
  virtual void bypass_cache() = 0;
  virtual base::Result<std::uint64_t> size() const = 0;
  virtual base::Result<> truncate(std::uint64_t size) = 0;
  // Room for [0, size), extending the file; reads as zeros. Falls back to truncate where
  // unsupported.
  virtual base::Result<> preallocate(std::uint64_t size) = 0;
  // Exclusive lock of the whole file, not waiting: open-file-description lock, flock where that is
  // not to be had. False if somebody else holds it. Held until unlock or close.
  virtual base::Result<bool> try_lock() = 0;
  virtual base::Result<> unlock() = 0;
  virtual const std::string& path() const = 0;
};

enum class OpenMode {
  kRead,
  kReadWrite,  // must exist
  kCreate,     // read and write; made if absent
  kCreateNew,  // read and write; must not exist
};

struct FileStatus {
  bool is_directory = false;
  std::uint64_t size = 0;
  unsigned permissions = 0;  // the low nine bits of the mode
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode,
                                                   unsigned permissions = 0600) = 0;
  // nullopt if there is nothing of that name.
  virtual base::Result<std::optional<FileStatus>> status(const std::string& path) = 0;
  // Names in a directory, sorted, without "." and "..".
  virtual base::Result<std::vector<std::string>> list(const std::string& path) = 0;
  // With parents, mode 0700; fine if it is there. The names of all of them are durable when it
  // returns, so that nobody need know how many were new, or were made by a process that died before
  // it could sync them.
  virtual base::Result<> make_directories(const std::string& path) = 0;
  // Atomic: after a crash `to` is the old file or the new one. Replaces a file.
  virtual base::Result<> rename(const std::string& from, const std::string& to) = 0;
  virtual base::Result<> remove(const std::string& path) = 0;  // a file or an empty directory
  virtual base::Result<> remove_all(const std::string& path) = 0;
  virtual base::Result<> link(const std::string& from, const std::string& to) = 0;
  // fsync of the directory: names made, renamed or removed in it are durable when it returns.
  virtual base::Result<> sync_directory(const std::string& path) = 0;
  // Bytes that may still be written on the volume of `path`, and its whole size.
  struct Space {
    std::uint64_t available = 0;
    std::uint64_t total = 0;
  };
  virtual base::Result<Space> space(const std::string& path) = 0;
};

std::string join_path(std::string_view directory, std::string_view name);
// Takes up to `bytes` off the end of a file that is to go; false once no more than that is left. A
// large one that goes at once holds up the syncs of others on its volume, while all its blocks are
// freed and, on some mounts, discarded: whoever is in no hurry shortens it first, and rests between
// the steps.
base::Result<bool> shorten(File& file, std::uint64_t bytes);
// The whole file as a string; and a file made of one string, synced (not its directory).
base::Result<std::string> read_file(FileSystem& files, const std::string& path);
base::Result<> write_file(FileSystem& files, const std::string& path, std::string_view bytes,
                          unsigned permissions = 0600);

}  // namespace keelson::env
