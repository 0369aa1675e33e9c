#include "env/file.h"

namespace keelson::env {

std::string join_path(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path.push_back('/');
  return path.append(name);
}

base::Result<bool> shorten(File& file, std::uint64_t bytes) {
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  if (size <= bytes) return false;
  RETURN_IF_ERROR(file.truncate(size - bytes));
  return true;
}

base::Result<std::string> read_file(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, files.open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const std::size_t length, file->read_at(0, bytes));
  bytes.resize(length);  // it may have shrunk in between
  return bytes;
}

base::Result<> write_file(FileSystem& files, const std::string& path, std::string_view bytes,
                          unsigned permissions) {
  ASSIGN_OR_RETURN(const auto file, files.open(path, OpenMode::kCreate, permissions));
  RETURN_IF_ERROR(file->truncate(0));
  RETURN_IF_ERROR(file->write_at(0, bytes));
  return file->sync();
}

}  // namespace keelson::env
