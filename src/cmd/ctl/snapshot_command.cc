#include "cmd/ctl/snapshot_command.h"

#include <fmt/format.h>

#include <chrono>

#include "base/duration.h"
#include "cmd/ctl/log.h"
#include "cmd/ctl/session.h"
#include "cmd/ctl/texts.h"
#include "env/posix/files.h"

namespace keelson::cmd::ctl {
namespace {

// The sum behind the pages, all of which are of whole sectors.
constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kSumBytes = 32;

std::unexpected<Exit> failed(std::string text) {
  return exit_with(kExitInterrupted, std::move(text));
}

// What comes, in <file>.part until all of it is there and durable; removed unless it was kept.
class PartFile {
 public:
  explicit PartFile(const std::string& path) : path_(path), part_(path + ".part") {}
  ~PartFile() {
    if (file_ != nullptr) MAYBE(files_.remove(part_).ok());
  }

  Outcome open() {
    auto file = files_.open(part_, env::OpenMode::kCreate);
    if (!file || !(*file)->truncate(0)) {
      const std::string why = file ? "truncate" : file.error().message();
      return failed(fmt::format("could not open {} ({})", part_, why));
    }
    file_ = *std::move(file);
    return {};
  }
  base::Result<> append(std::string_view bytes) {
    RETURN_IF_ERROR(file_->write_at(bytes_, bytes));
    bytes_ += bytes.size();
    return {};
  }
  Outcome keep() {
    if (bytes_ % kSectorBytes != kSumBytes) {
      return failed(fmt::format("sha256 checksum not found [bytes: {}]", bytes_));
    }
    if (auto synced = file_->sync(); !synced) {
      return failed(fmt::format("could not fsync snapshot: {}", synced.error().message()));
    }
    return {};
  }
  Outcome rename() {
    if (auto renamed = files_.rename(part_, path_); !renamed) {
      return failed(
          fmt::format("could not rename {} to {} ({})", part_, path_, renamed.error().message()));
    }
    file_.reset();
    return {};
  }
  const std::string& part() const { return part_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  env::posix::Files files_;
  const std::string path_, part_;
  std::unique_ptr<env::File> file_;
  std::uint64_t bytes_ = 0;
};

// One run of the command.
class Saving {
 public:
  Saving(Session& session, const std::string& path) : session_(session), path_(path), file_(path) {}

  // The version that the server told; empty if it told none.
  base::Result<std::string, Exit> run(client::Blocking::Timeout timeout) {
    RETURN_IF_ERROR(file_.open());
    log("", "created temporary db file", {{"path", file_.part()}});
    const auto begun = std::chrono::steady_clock::now();
    const std::string& endpoint = session_.endpoints().front();
    ASSIGN_OR_RETURN(const auto over, session_.client_of(endpoint, "client"));
    RETURN_IF_ERROR(fetch(*over, timeout));
    RETURN_IF_ERROR(file_.keep());
    log("", "fetched snapshot",
        {{"endpoint", endpoint},
         {"size", size_text(file_.bytes())},
         {"took", base::duration_text(std::chrono::steady_clock::now() - begun)},
         {"etcd-version", version_}});
    RETURN_IF_ERROR(file_.rename());
    log("", "saved", {{"path", path_}});
    return version_;
  }

 private:
  Outcome fetch(client::Blocking& over, client::Blocking::Timeout timeout) {
    base::Result<> written;
    bool has_begun = false;
    const auto fetched = over.snapshot(
        [&](const pb::SnapshotResponse& piece) {
          if (!std::exchange(has_begun, true)) begin(piece);
          written = file_.append(piece.blob());
          return written.ok();
        },
        timeout);
    if (!written) {
      return failed(fmt::format("could not write snapshot: {}", written.error().message()));
    }
    if (!fetched) {
      const std::string why = client::error_text(fetched.error());
      return failed(has_begun ? fmt::format("could not write snapshot: {}", why) : why);
    }
    log("client", "completed snapshot read; closing", {});
    return {};
  }
  void begin(const pb::SnapshotResponse& first) {
    version_ = first.version();
    log("client", "opened snapshot stream; downloading", {});
    log("", "fetching snapshot", {{"endpoint", session_.endpoints().front()}});
  }
  void log(std::string_view logger, std::string_view message, std::vector<LogField> fields) {
    session_.output().complain(log_text({.level = "info",
                                         .logger = logger,
                                         .caller = "ctl/snapshot_command.cc",
                                         .message = message,
                                         .fields = std::move(fields)}));
  }

  Session& session_;
  const std::string path_;
  PartFile file_;
  std::string version_;
};

Outcome run_save(Invocation& invocation) {
  if (invocation.arguments().size() != 1) {
    return exit_with(kExitBadArguments, "snapshot save expects one argument <filename>");
  }
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  if (session->endpoints().size() != 1) {
    return failed(fmt::format("snapshot must be requested to one selected node, not multiple [{}]",
                              fmt::join(session->endpoints(), " ")));
  }
  // As long as it takes, unless somebody said how long that may be.
  client::Blocking::Timeout timeout;
  if (invocation.flags.is_set("command-timeout")) timeout = session->command_timeout();
  const std::string& path = invocation.arguments().front();
  ASSIGN_OR_RETURN(const std::string version, Saving(*session, path).run(timeout));
  session->output().print_line(fmt::format("Snapshot saved at {}", path));
  if (!version.empty()) session->output().print_line(fmt::format("Server version {}", version));
  return {};
}

constexpr Command kSaveCommand = {
    .use = "save <filename>",
    .summary = "Writes all data of a member to a file",
    .description = "",
    .run = run_save,
};
constexpr const Command* kSnapshotSubcommands[] = {&kSaveCommand};

}  // namespace

constinit const Command kSnapshotCommand = {
    .use = "snapshot <subcommand>",
    .summary = "Saves the data of a member to a file",
    .description = "",
    .group = Group::kMaintenance,
    .subcommands = kSnapshotSubcommands,
};

}  // namespace keelson::cmd::ctl
