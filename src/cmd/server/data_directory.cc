#include "cmd/server/data_directory.h"

#include <fmt/format.h>

#include <algorithm>

#include "member/boot.h"

namespace keelson::cmd {
namespace {

constexpr unsigned kPermissions = 0700;

// "drwxr-xr-x"
std::string mode_text(unsigned permissions) {
  std::string text = "d";
  for (int bit = 8; bit >= 0; bit--) text += (permissions >> bit & 1) != 0 ? "xwr"[bit % 3] : '-';
  return text;
}

base::Result<std::vector<std::string>> names_in(env::FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto status, files.status(path));
  if (!status) return std::vector<std::string>();
  return files.list(path);
}

base::Result<void> check_permissions(env::FileSystem& files, const std::string& path,
                                     DataDirectory& directory) {
  ASSIGN_OR_RETURN(const auto status, files.status(path));
  if (!status || status->permissions == kPermissions) return {};
  directory.permissions.push_back(fmt::format(
      "directory \"{}\" exist, but the permission is \"{}\". The recommended permission is "
      "\"-rwx------\" to prevent possible unprivileged access to the data",
      path, mode_text(status->permissions)));
  return {};
}

}  // namespace

base::Result<DataDirectory> look_at_data_directory(env::FileSystem& files,
                                                   const member::Config& config) {
  DataDirectory directory;
  ASSIGN_OR_RETURN(const auto names, names_in(files, config.data_dir));
  for (const std::string& name : names) {
    if (name == "member") {
      directory.has_member = true;
    } else if (name == "proxy") {
      directory.has_proxy = true;
    } else if (name != "fixtures") {
      directory.foreign.push_back(name);
    }
  }
  const auto paths = member::Paths::of(config);
  ASSIGN_OR_RETURN(const auto logs, names_in(files, paths.wal));
  directory.initialized = std::any_of(
      logs.begin(), logs.end(), [](const std::string& name) { return name.ends_with(".wal"); });
  RETURN_IF_ERROR(check_permissions(files, config.data_dir, directory));
  RETURN_IF_ERROR(check_permissions(files, paths.member, directory));
  return directory;
}

}  // namespace keelson::cmd
