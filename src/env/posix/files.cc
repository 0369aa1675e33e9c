#include "env/posix/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace keelson::env::posix {
namespace {

// Calls until it is not interrupted.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

auto failure(int error_number, std::string_view operation, std::string_view path) {
  return base::fail(base::errno_error(error_number, fmt::format("{} {}", operation, path)));
}

bool unsupported(int error_number) {
  return error_number == EOPNOTSUPP || error_number == ENOSYS || error_number == EINVAL;
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  // What had to be durable was synced; a failing close has nothing to add.
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  base::Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override {
    std::size_t done = 0;
    while (done < out.size()) {
      const auto got = uninterrupted([&] {
        return ::pread(fd_, out.data() + done, out.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (got < 0) return failure(errno, "read", path_);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

  std::optional<base::Result<std::size_t>> try_read_at(std::uint64_t offset,
                                                       std::span<char> out) const override {
    if (out.empty()) return base::Result<std::size_t>(std::size_t{0});
    if (always_cold_.load(std::memory_order_relaxed)) return std::nullopt;
    const iovec part{out.data(), out.size()};
    const auto got = uninterrupted(
        [&] { return ::preadv2(fd_, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT); });
    if (got >= 0) {
      if (static_cast<std::size_t>(got) == out.size()) return base::Result<std::size_t>(out.size());
      return std::nullopt;
    }
    if (errno == EAGAIN) return std::nullopt;
    if (unsupported(errno)) {
      always_cold_.store(true, std::memory_order_relaxed);
      return std::nullopt;
    }
    return base::Result<std::size_t>(failure(errno, "read", path_));
  }

  base::Result<> write_at(std::uint64_t offset, std::span<const std::string_view> parts) override {
    std::array<iovec, 256> pieces;
    std::size_t skip = 0;  // bytes of parts.front() that are written already
    while (!parts.empty()) {
      std::size_t count = 0;
      for (const auto part : parts.first(std::min(parts.size(), pieces.size()))) {
        const auto rest = part.substr(count == 0 ? skip : 0);
        pieces[count++] = {const_cast<char*>(rest.data()), rest.size()};
      }
      const auto wrote = uninterrupted([&] {
        return ::pwritev(fd_, pieces.data(), static_cast<int>(count), static_cast<off_t>(offset));
      });
      // No whole pages, or a file system that asks for more than those.
      if (wrote < 0 && errno == EINVAL && bypasses_cache_) {
        use_cache(true);
        continue;
      }
      if (wrote < 0) return failure(errno, "write", path_);
      offset += static_cast<std::uint64_t>(wrote);
      std::size_t left = static_cast<std::size_t>(wrote) + skip;
      const std::size_t parts_before = parts.size();
      while (!parts.empty() && left >= parts.front().size()) {
        left -= parts.front().size();
        parts = parts.subspan(1);
      }
      // Linux writes at least a byte or fails; a disk that takes nothing must not hold us for ever.
      if (wrote == 0 && parts.size() == parts_before) return failure(EIO, "write", path_);
      skip = left;
    }
    return {};
  }

  base::Result<> sync() override {
    if (uninterrupted([&] { return ::fdatasync(fd_); }) != 0) return failure(errno, "sync", path_);
    return {};
  }

  // In this order: only clean pages can be dropped. What another program has mapped or is reading
  // this instant may stay, and a file system in memory has no other place for it.
  base::Result<> settle() override {
    RETURN_IF_ERROR(sync());
    const int error_number = ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    if (error_number != 0 && !unsupported(error_number)) {
      return failure(error_number, "drop from memory", path_);
    }
    return {};
  }

  base::Result<> push_out(std::uint64_t offset, std::uint64_t length, bool wait) override {
    const unsigned flags =
        wait ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
             : SYNC_FILE_RANGE_WRITE;
    const auto result = uninterrupted([&] {
      return ::sync_file_range(fd_, static_cast<off64_t>(offset), static_cast<off64_t>(length),
                               flags);
    });
    if (result != 0 && !unsupported(errno)) return failure(errno, "push out", path_);
    return {};
  }

  void bypass_cache() override { use_cache(false); }

  base::Result<std::uint64_t> size() const override {
    struct stat status;
    if (::fstat(fd_, &status) != 0) return failure(errno, "stat", path_);
    return static_cast<std::uint64_t>(status.st_size);
  }

  base::Result<> truncate(std::uint64_t size) override {
    if (uninterrupted([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) != 0) {
      return failure(errno, "truncate", path_);
    }
    return {};
  }

  base::Result<> preallocate(std::uint64_t size) override {
    if (size == 0) return {};
    if (uninterrupted([&] { return ::fallocate(fd_, 0, 0, static_cast<off_t>(size)); }) == 0) {
      return {};
    }
    if (!unsupported(errno)) return failure(errno, "preallocate", path_);
    ASSIGN_OR_RETURN(const std::uint64_t present, this->size());
    return present < size ? truncate(size) : base::Result<>();
  }

  base::Result<bool> try_lock() override {
    const int error_number = set_lock(F_WRLCK);
    if (error_number == 0) return true;
    if (error_number == EAGAIN || error_number == EACCES) return false;
    if (!unsupported(error_number)) return failure(error_number, "lock", path_);
    if (uninterrupted([&] { return ::flock(fd_, LOCK_EX | LOCK_NB); }) == 0) {
      by_flock_ = true;
      return true;
    }
    if (errno == EWOULDBLOCK) return false;
    return failure(errno, "lock", path_);
  }

  base::Result<> unlock() override {
    const int error_number =
        by_flock_ ? (::flock(fd_, LOCK_UN) == 0 ? 0 : errno) : set_lock(F_UNLCK);
    if (error_number != 0) return failure(error_number, "unlock", path_);
    by_flock_ = false;
    return {};
  }

  const std::string& path() const override { return path_; }

 private:
  void use_cache(bool yes) {
    const int flags = ::fcntl(fd_, F_GETFL);
    if (flags == -1) return;
    const int wanted = yes ? flags & ~O_DIRECT : flags | O_DIRECT;
    if (::fcntl(fd_, F_SETFL, wanted) == 0) bypasses_cache_ = !yes;
  }

  // An open-file-description lock: of this File, not of the process, so that two opens in one
  // process exclude each other too. Returns the error number.
  int set_lock(short type) {
    struct flock lock{};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;  // start 0, length 0: the whole file
    return uninterrupted([&] { return ::fcntl(fd_, F_OFD_SETLK, &lock); }) == 0 ? 0 : errno;
  }

  const int fd_;
  const std::string path_;
  mutable std::atomic<bool> always_cold_ = false;  // this file system knows no RWF_NOWAIT
  bool by_flock_ = false;
  bool bypasses_cache_ = false;
};

int open_flags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT;
    case OpenMode::kCreateNew:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  CHECK(false);
}

// "a/b/" -> "a"; "b" -> "."; "/b" -> "/".
std::string parent_of(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<std::size_t>(slash, 1)));
}

}  // namespace

base::Result<std::unique_ptr<File>> Files::open(const std::string& path, OpenMode mode,
                                                unsigned permissions) {
  const int fd = uninterrupted(
      [&] { return ::open(path.c_str(), open_flags(mode) | O_CLOEXEC, permissions); });
  if (fd < 0) return failure(errno, "open", path);
  std::unique_ptr<File> file = std::make_unique<PosixFile>(fd, path);
  struct stat status;
  if (::fstat(fd, &status) != 0) return failure(errno, "stat", path);
  // The kernel lets a directory be opened for reading; a File is a file.
  if (S_ISDIR(status.st_mode)) return failure(EISDIR, "open", path);
  return file;
}

base::Result<std::optional<FileStatus>> Files::status(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<FileStatus>();
    return failure(errno, "stat", path);
  }
  return std::optional<FileStatus>(FileStatus{.is_directory = S_ISDIR(status.st_mode),
                                              .size = static_cast<std::uint64_t>(status.st_size),
                                              .permissions = status.st_mode & 0777});
}

base::Result<std::vector<std::string>> Files::list(const std::string& path) {
  std::vector<std::string> names;
  std::error_code ec;
  std::filesystem::directory_iterator it(path, ec);
  for (; !ec && it != std::filesystem::directory_iterator(); it.increment(ec)) {
    names.push_back(it->path().filename().string());
  }
  if (ec) return failure(ec.value(), "list", path);
  std::sort(names.begin(), names.end());
  return names;
}

base::Result<> Files::make_directories(const std::string& path) {
  if (path.empty()) return failure(ENOENT, "make directory", path);
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string directory = path.substr(0, end);
    const bool made = ::mkdir(directory.c_str(), 0700) == 0;
    if (const int error_number = errno; !made && error_number != EEXIST) {
      // On a read-only volume mkdir complains of that before it looks whether the name is there.
      ASSIGN_OR_RETURN(const auto present, status(directory));
      if (!present) return failure(error_number, "make directory", directory);
    }
    // Not for those that may not read the parent; there a sync is not to be had. Nor can every
    // volume sync a directory that has long been there.
    if (auto synced = sync_directory(parent_of(directory));
        !synced && made && synced.error().code != std::errc::permission_denied) {
      return synced;
    }
  }
  ASSIGN_OR_RETURN(const auto made, status(path));
  if (!made || !made->is_directory) return failure(ENOTDIR, "make directory", path);
  return {};
}

base::Result<> Files::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return failure(errno, "rename", fmt::format("{} to {}", from, to));
  }
  return {};
}

base::Result<> Files::remove(const std::string& path) {
  if (::remove(path.c_str()) != 0) return failure(errno, "remove", path);
  return {};
}

base::Result<> Files::remove_all(const std::string& path) {
  std::error_code ec;
  std::filesystem::remove_all(path, ec);
  if (ec) return failure(ec.value(), "remove", path);
  return {};
}

base::Result<> Files::link(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) != 0) {
    return failure(errno, "link", fmt::format("{} to {}", from, to));
  }
  return {};
}

base::Result<> Files::sync_directory(const std::string& path) {
  const int fd =
      uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return failure(errno, "open directory", path);
  const int error_number = uninterrupted([&] { return ::fsync(fd); }) == 0 ? 0 : errno;
  ::close(fd);
  // Some network file systems make names durable at once and know no sync of a directory.
  if (error_number != 0 && !unsupported(error_number)) {
    return failure(error_number, "sync directory", path);
  }
  return {};
}

base::Result<FileSystem::Space> Files::space(const std::string& path) {
  struct statvfs status;
  if (::statvfs(path.c_str(), &status) != 0) return failure(errno, "stat volume of", path);
  return Space{.available = static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize,
               .total = static_cast<std::uint64_t>(status.f_blocks) * status.f_frsize};
}

}  // namespace keelson::env::posix
