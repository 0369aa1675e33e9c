// faulty_disk: a library to be preloaded into a server, in which calls on files fail as told. The
// disk of bad days, for whoever has no device mapper.
//
//   FAULTY_DISK_CONTROL names a file, read anew at every call that could fail:
//
//     <operation> <part of a path> <errno> [calls that still succeed]
//
//   operation: write (pwrite, pwritev, write), sync (fsync, fdatasync, sync_file_range), read
//   (pread, preadv), room (fallocate), open. An empty or absent file: nothing fails.
//

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

namespace {

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

std::string path_of(int fd) {
  char link[64], path[4096];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(link, path, sizeof path);
  return length < 0 ? "" : std::string(path, static_cast<std::size_t>(length));
}

// The errno with which this call is to fail; 0: it is not.
int fault(const char* operation, const std::string& path) {
  static std::mutex mutex;
  static std::string last;
  static long passed = 0;
  const char* control = std::getenv("FAULTY_DISK_CONTROL");
  if (control == nullptr) return 0;
  std::FILE* file = std::fopen(control, "re");
  if (file == nullptr) return 0;
  char line[512] = "", wanted[32] = "", part[256] = "";
  const bool read = std::fgets(line, sizeof line, file) != nullptr;
  std::fclose(file);
  int error = 0;
  long spared = 0;
  if (!read || std::sscanf(line, "%31s %255s %d %ld", wanted, part, &error, &spared) < 3) return 0;
  if (std::strcmp(wanted, operation) != 0 || path.find(part) == std::string::npos) return 0;
  const std::lock_guard lock(mutex);
  if (last != line) {
    last = line;
    passed = 0;
  }
  return passed++ < spared ? 0 : error;
}

// True, with errno set, if a call on this descriptor is to fail.
bool fails(const char* operation, int fd) {
  const int error = fault(operation, path_of(fd));
  if (error != 0) errno = error;
  return error != 0;
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* bytes, size_t size) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
  return fails("write", fd) ? -1 : real(fd, bytes, size);
}
ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t offset) {
  static const auto real = next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
  return fails("write", fd) ? -1 : real(fd, bytes, size, offset);
}
ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  return pwrite64(fd, bytes, size, offset);
}
ssize_t pwritev64(int fd, const iovec* parts, int count, off64_t offset) {
  static const auto real = next<ssize_t (*)(int, const iovec*, int, off64_t)>("pwritev64");
  return fails("write", fd) ? -1 : real(fd, parts, count, offset);
}
ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  return pwritev64(fd, parts, count, offset);
}
ssize_t pread64(int fd, void* bytes, size_t size, off64_t offset) {
  static const auto real = next<ssize_t (*)(int, void*, size_t, off64_t)>("pread64");
  return fails("read", fd) ? -1 : real(fd, bytes, size, offset);
}
ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  return pread64(fd, bytes, size, offset);
}
ssize_t preadv2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  static const auto real = next<ssize_t (*)(int, const iovec*, int, off_t, int)>("preadv2");
  return fails("read", fd) ? -1 : real(fd, parts, count, offset, flags);
}
int fsync(int fd) {
  static const auto real = next<int (*)(int)>("fsync");
  return fails("sync", fd) ? -1 : real(fd);
}
int fdatasync(int fd) {
  static const auto real = next<int (*)(int)>("fdatasync");
  return fails("sync", fd) ? -1 : real(fd);
}
int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  static const auto real = next<int (*)(int, off64_t, off64_t, unsigned)>("sync_file_range");
  return fails("sync", fd) ? -1 : real(fd, offset, length, flags);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
  static const auto real = next<int (*)(int, int, off64_t, off64_t)>("fallocate64");
  return fails("room", fd) ? -1 : real(fd, mode, offset, length);
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
  return fallocate64(fd, mode, offset, length);
}
// In glibc a wrapper that returns the error.
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  return fallocate64(fd, 0, offset, length) == 0 ? 0 : errno;
}
int posix_fallocate(int fd, off_t offset, off_t length) {
  return posix_fallocate64(fd, offset, length);
}
int open64(const char* path, int flags, ...) {
  static const auto real = next<int (*)(const char*, int, ...)>("open64");
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, unsigned) : 0;
  va_end(arguments);
  if (const int error = fault("open", path); error != 0) {
    errno = error;
    return -1;
  }
  return real(path, flags, mode);
}
int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const unsigned mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, unsigned) : 0;
  va_end(arguments);
  return open64(path, flags, mode);
}

}  // extern "C"
