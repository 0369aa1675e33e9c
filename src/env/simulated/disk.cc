#include "env/simulated/disk.h"

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>
#include <variant>

#include "env/simulated/content.h"

namespace keelson::env::simulated {
namespace internal {

struct Write {
  std::uint64_t offset;
  std::string bytes;
};
struct Truncate {
  std::uint64_t size;
};
struct Allocate {
  std::uint64_t size;
};
using Change = std::variant<Write, Truncate, Allocate>;

struct Inode {
  bool is_directory = false;
  unsigned permissions = 0;
  // A file: platter + pending = content, but for what a failed sync has lost.
  Content content;
  Content platter;
  std::vector<Change> pending;
  bool write_back_failed = false;  // in the background, and nobody was told yet
  const void* lock_owner = nullptr;
  // A directory: the same with names; what is pending stands in Disk::pending_names_.
  std::map<std::string, std::shared_ptr<Inode>> names;
  std::map<std::string, std::shared_ptr<Inode>> platter_names;
};

// One atomic step of the name space: a rename has two edits, all others one.
struct NameChange {
  struct Edit {
    std::shared_ptr<Inode> directory;
    std::string name;
    std::shared_ptr<Inode> inode;  // nullptr: the name goes
  };
  std::vector<Edit> edits;
  std::shared_ptr<Inode> subject;  // whose names change
};

}  // namespace internal

namespace {

using internal::Allocate;
using internal::Change;
using internal::Inode;
using internal::NameChange;
using internal::Truncate;
using internal::Write;

// Of a disk, and of a file system with the smallest blocks there are.
constexpr std::uint64_t kSectorBytes = 512;

std::string_view name_of(Disk::Operation operation) {
  switch (operation) {
    case Disk::Operation::kOpen:
    case Disk::Operation::kCreate:
      return "open";
    case Disk::Operation::kRead:
      return "read";
    case Disk::Operation::kStatus:
      return "stat";
    case Disk::Operation::kList:
      return "list";
    case Disk::Operation::kSpace:
      return "stat volume of";
    case Disk::Operation::kLock:
      return "lock";
    case Disk::Operation::kWrite:
      return "write";
    case Disk::Operation::kPushOut:
      return "push out";
    case Disk::Operation::kSync:
      return "sync";
    case Disk::Operation::kTruncate:
      return "truncate";
    case Disk::Operation::kPreallocate:
      return "preallocate";
    case Disk::Operation::kMakeDirectory:
      return "make directory";
    case Disk::Operation::kRename:
      return "rename";
    case Disk::Operation::kRemove:
      return "remove";
    case Disk::Operation::kLink:
      return "link";
    case Disk::Operation::kSyncDirectory:
      return "sync directory";
  }
  CHECK(false);
}

auto failure(int error_number, Disk::Operation operation, std::string_view path) {
  return base::fail(
      base::errno_error(error_number, fmt::format("{} {}", name_of(operation), path)));
}

void carry_out(const Change& change, Content& content) {
  if (const auto* write = std::get_if<Write>(&change)) {
    content.write(write->offset, write->bytes);
  } else if (const auto* truncate = std::get_if<Truncate>(&change)) {
    content.resize(truncate->size);
  } else {
    content.resize(std::max(content.size(), std::get<Allocate>(change).size));
  }
}

// Some of the sectors of a write: a prefix, as when power fails in the middle of one command, or
// any.
void tear(const Write& write, Content& content, base::Random& random) {
  const std::uint64_t end = write.offset + write.bytes.size();
  const bool as_prefix = random.one_in(2);
  bool lost = false;
  for (std::uint64_t at = write.offset; at < end;) {
    const std::uint64_t sector_end = std::min(end, (at / kSectorBytes + 1) * kSectorBytes);
    lost = random.one_in(2) || (as_prefix && lost);
    if (!lost) {
      content.write(at, std::string_view(write.bytes).substr(at - write.offset, sector_end - at));
    }
    at = sector_end;
  }
  // The new size may have been noted although the last sectors never came.
  if (content.size() < end && random.one_in(2)) content.resize(end);
}

// What becomes of each of a row of pending changes. Fair coins alone would nearly never keep, or
// lose, a long row whole, so the kind of the disaster is drawn first.
class Fate {
 public:
  enum class Outcome { kLost, kKept, kTorn };

  Fate(base::Random& random, std::size_t count) : random_(random), cut_(random.below(count + 1)) {
    style_ = static_cast<Style>(random.below(4));
  }
  Outcome next() {
    const std::size_t place = place_++;
    switch (style_) {
      case Style::kNone:
        return Outcome::kLost;
      case Style::kAll:
        return Outcome::kKept;
      case Style::kPrefix:
        return place < cut_ ? Outcome::kKept : place == cut_ ? Outcome::kTorn : Outcome::kLost;
      case Style::kAny:
        return static_cast<Outcome>(random_.below(3));
    }
    CHECK(false);
  }

 private:
  enum class Style { kNone, kAll, kPrefix, kAny };
  base::Random& random_;
  const std::size_t cut_;
  Style style_;
  std::size_t place_ = 0;
};

void settle_at_random(Inode& inode, base::Random& random) {
  Fate fate(random, inode.pending.size());
  for (const auto& change : inode.pending) {
    const auto outcome = fate.next();
    if (outcome == Fate::Outcome::kKept) carry_out(change, inode.platter);
    if (outcome != Fate::Outcome::kTorn) continue;
    if (const auto* write = std::get_if<Write>(&change)) tear(*write, inode.platter, random);
  }
  inode.pending.clear();
}

// Of each pending write some sectors, of each change of a size all or nothing.
void tear_all(Inode& inode, base::Random& random) {
  for (const auto& change : inode.pending) {
    if (const auto* write = std::get_if<Write>(&change)) {
      tear(*write, inode.platter, random);
    } else if (random.one_in(2)) {
      carry_out(change, inode.platter);
    }
  }
  inode.pending.clear();
}

void carry_out(const NameChange& change) {
  for (const auto& edit : change.edits) {
    if (edit.inode) {
      edit.directory->platter_names[edit.name] = edit.inode;
    } else {
      edit.directory->platter_names.erase(edit.name);
    }
  }
}

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const auto part = path.substr(at, end - at);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  return parts;
}

bool is_within(const Inode& root, const Inode* wanted) {
  if (&root == wanted) return true;
  return std::any_of(root.names.begin(), root.names.end(),
                     [&](const auto& entry) { return is_within(*entry.second, wanted); });
}

}  // namespace

namespace internal {

class DiskFile final : public File {
 public:
  DiskFile(Disk& disk, std::shared_ptr<Inode> inode, std::string path, bool writable)
      : disk_(disk),
        inode_(std::move(inode)),
        path_(std::move(path)),
        writable_(writable),
        life_(disk.life_) {
    disk_.open_files_++;
  }
  ~DiskFile() override {
    if (inode_->lock_owner == this) inode_->lock_owner = nullptr;
    disk_.open_files_--;
  }

  base::Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override {
    CHECK(!bypasses_cache_);
    RETURN_IF_ERROR(enter(Disk::Operation::kRead, out.size()));
    return inode_->content.read(offset, out);
  }

  std::optional<base::Result<std::size_t>> try_read_at(std::uint64_t offset,
                                                       std::span<char> out) const override {
    if (disk_.cold_one_in_ != 0 && disk_.random_.one_in(disk_.cold_one_in_)) return std::nullopt;
    auto got = read_at(offset, out);
    if (got && *got < out.size()) return std::nullopt;
    return got;
  }

  base::Result<> write_at(std::uint64_t offset, std::span<const std::string_view> parts) override {
    std::string bytes;
    for (const auto part : parts) bytes.append(part);
    if (auto entered = enter_to_change(Disk::Operation::kWrite, bytes.size()); !entered) {
      if (is_alive() && writable_) {
        const std::uint64_t length = disk_.random_.below(bytes.size() + 1);
        write_blocks(offset, std::move(bytes), length);
      }
      return entered;
    }
    const std::uint64_t end_max = inode_->content.size() + free_bytes();
    if (offset + bytes.size() > end_max) {
      write_blocks(offset, std::move(bytes), end_max > offset ? end_max - offset : 0);
      return failure(ENOSPC, Disk::Operation::kWrite, path_);
    }
    write(offset, std::move(bytes));
    return {};
  }

  base::Result<> sync() override {
    RETURN_IF_ERROR(enter_to_write_back(Disk::Operation::kSync));
    for (const auto& change : inode_->pending) carry_out(change, inode_->platter);
    inode_->pending.clear();
    return {};
  }

  base::Result<> settle() override {
    RETURN_IF_ERROR(sync());
    inode_->content = inode_->platter;
    return {};
  }

  base::Result<> push_out(std::uint64_t, std::uint64_t, bool) override {
    return enter_to_write_back(Disk::Operation::kPushOut);
  }

  void bypass_cache() override { bypasses_cache_ = true; }

  base::Result<std::uint64_t> size() const override {
    RETURN_IF_ERROR(enter(Disk::Operation::kStatus));
    return inode_->content.size();
  }

  base::Result<> truncate(std::uint64_t size) override {
    RETURN_IF_ERROR(enter_to_change(Disk::Operation::kTruncate));
    return change_size(Truncate{size}, size, Disk::Operation::kTruncate);
  }

  base::Result<> preallocate(std::uint64_t size) override {
    RETURN_IF_ERROR(enter_to_change(Disk::Operation::kPreallocate));
    return change_size(Allocate{size}, size, Disk::Operation::kPreallocate);
  }

  base::Result<bool> try_lock() override {
    RETURN_IF_ERROR(enter_to_change(Disk::Operation::kLock));
    if (inode_->lock_owner != nullptr && inode_->lock_owner != this) return false;
    inode_->lock_owner = this;
    return true;
  }

  base::Result<> unlock() override {
    RETURN_IF_ERROR(enter(Disk::Operation::kLock));
    if (inode_->lock_owner == this) inode_->lock_owner = nullptr;
    return {};
  }

  const std::string& path() const override { return path_; }

 private:
  bool is_alive() const { return life_ == disk_.life_ && !disk_.off_; }
  std::uint64_t free_bytes() const {
    if (disk_.capacity_ == Disk::kUnlimited) return Disk::kUnlimited;
    const std::uint64_t used = disk_.used();
    return disk_.capacity_ > used ? disk_.capacity_ - used : 0;
  }

  base::Result<> enter(Disk::Operation operation, std::uint64_t bytes = 0) const {
    if (!is_alive()) return failure(EIO, operation, path_);
    int error_number = disk_.begin(operation, path_, bytes);
    if (!is_alive()) error_number = EIO;  // it crashed just now
    if (error_number != 0) return failure(error_number, operation, path_);
    return {};
  }

  base::Result<> enter_to_change(Disk::Operation operation, std::uint64_t bytes = 0) const {
    RETURN_IF_ERROR(enter(operation, bytes));
    if (!writable_) return failure(EBADF, operation, path_);
    return {};
  }

  // D4. The error of what failed in the background is told once, to whoever comes first.
  base::Result<> enter_to_write_back(Disk::Operation operation) {
    auto entered = enter(operation);
    if (entered && std::exchange(inode_->write_back_failed, false)) {
      entered = failure(EIO, operation, path_);
    }
    if (!entered && is_alive()) settle_at_random(*inode_, disk_.random_);
    return entered;
  }

  // D6. Of the first `length` bytes, up to where the last block begins.
  void write_blocks(std::uint64_t offset, std::string bytes, std::uint64_t length) {
    const std::uint64_t end = (offset + length) / kSectorBytes * kSectorBytes;
    bytes.resize(end > offset ? end - offset : 0);
    write(offset, std::move(bytes));
  }

  void write(std::uint64_t offset, std::string bytes) {
    if (bytes.empty()) return;
    inode_->content.write(offset, bytes);
    inode_->pending.push_back(Write{offset, std::move(bytes)});
  }

  base::Result<> change_size(Change change, std::uint64_t size, Disk::Operation operation) {
    const std::uint64_t present = inode_->content.size();
    if (size > present && size - present > free_bytes()) return failure(ENOSPC, operation, path_);
    carry_out(change, inode_->content);
    inode_->pending.push_back(std::move(change));
    return {};
  }

  Disk& disk_;
  const std::shared_ptr<Inode> inode_;
  const std::string path_;
  const bool writable_;
  const std::uint64_t life_;
  bool bypasses_cache_ = false;
};

}  // namespace internal

Disk::Disk(std::uint64_t seed) : random_(seed) { root_ = make_inode(true, 0700); }

Disk::~Disk() { CHECK_EQ(open_files_, 0u); }

Disk::InodePtr Disk::make_inode(bool is_directory, unsigned permissions) {
  auto inode = std::make_shared<Inode>();
  inode->is_directory = is_directory;
  inode->permissions = permissions;
  std::erase_if(inodes_, [](const auto& known) { return known.expired(); });
  inodes_.push_back(inode);
  return inode;
}

int Disk::begin(Operation operation, const std::string& path, std::uint64_t bytes) {
  if (off_) return EIO;
  if (operation >= Operation::kCreate) {
    changes_++;
    if (changes_ == cut_at_) {
      cut(cut_mode_);
      return EIO;
    }
  }
  const Step step{operation, path, bytes, changes_};
  const std::uint64_t life = life_;
  if (observer_) {
    if (const int error_number = observer_(step); error_number != 0) return error_number;
  }
  if (off_ || life != life_) return EIO;
  if (const int error_number = injected(operation, path); error_number != 0) return error_number;
  if (pace_) pace_(step);
  return 0;
}

int Disk::injected(Operation operation, const std::string& path) {
  int error_number = 0;
  for (auto& failure : failures_) {
    if (failure.operation != operation || path.find(failure.path_part) == std::string::npos)
      continue;
    if (failure.nth > 1) {
      failure.nth--;
    } else {
      failure.times--;
      error_number = failure.error_number;
    }
  }
  std::erase_if(failures_, [](const Failure& failure) { return failure.times == 0; });
  return error_number;
}

void Disk::fail(Failure failure) {
  CHECK_GT(failure.nth, 0u);
  CHECK_GT(failure.times, 0u);
  failures_.push_back(std::move(failure));
}

base::Result<Disk::Place, int> Disk::find(const std::string& path) const {
  if (path.empty()) return base::fail(ENOENT);
  Place place{.directory = nullptr, .name = "", .inode = root_};
  for (auto& part : split(path)) {
    if (!place.inode) return base::fail(ENOENT);
    if (!place.inode->is_directory) return base::fail(ENOTDIR);
    place.directory = place.inode;
    const auto it = place.directory->names.find(part);
    place.inode = it == place.directory->names.end() ? nullptr : it->second;
    place.name = std::move(part);
  }
  return place;
}

void Disk::change_names(NameChange change) {
  for (const auto& edit : change.edits) {
    if (edit.inode) {
      edit.directory->names[edit.name] = edit.inode;
    } else {
      edit.directory->names.erase(edit.name);
    }
  }
  pending_names_.push_back(std::move(change));
}

base::Result<std::unique_ptr<File>> Disk::open(const std::string& path, OpenMode mode,
                                               unsigned permissions) {
  const auto creates = [&](const auto& place) {
    return place && !place->inode && (mode == OpenMode::kCreate || mode == OpenMode::kCreateNew);
  };
  const auto operation = creates(find(path)) ? Operation::kCreate : Operation::kOpen;
  if (const int error_number = begin(operation, path)) {
    return failure(error_number, operation, path);
  }
  const auto place = find(path);  // again: an observer may have changed something
  if (!place) return failure(place.error(), operation, path);
  InodePtr inode = place->inode;
  if (creates(place)) {
    inode = make_inode(false, permissions);
    change_names({.edits = {{place->directory, place->name, inode}}, .subject = inode});
  } else if (!inode) {
    return failure(ENOENT, operation, path);
  } else if (mode == OpenMode::kCreateNew) {
    return failure(EEXIST, operation, path);
  }
  if (inode->is_directory) return failure(EISDIR, operation, path);
  return std::unique_ptr<File>(
      std::make_unique<internal::DiskFile>(*this, inode, path, mode != OpenMode::kRead));
}

base::Result<std::optional<FileStatus>> Disk::status(const std::string& path) {
  if (const int error_number = begin(Operation::kStatus, path)) {
    return failure(error_number, Operation::kStatus, path);
  }
  const auto place = find(path);
  if (!place || !place->inode) return std::optional<FileStatus>();
  return std::optional<FileStatus>(FileStatus{.is_directory = place->inode->is_directory,
                                              .size = place->inode->content.size(),
                                              .permissions = place->inode->permissions});
}

base::Result<std::vector<std::string>> Disk::list(const std::string& path) {
  if (const int error_number = begin(Operation::kList, path)) {
    return failure(error_number, Operation::kList, path);
  }
  const auto place = find(path);
  if (!place) return failure(place.error(), Operation::kList, path);
  if (!place->inode) return failure(ENOENT, Operation::kList, path);
  if (!place->inode->is_directory) return failure(ENOTDIR, Operation::kList, path);
  std::vector<std::string> names;
  for (const auto& [name, inode] : place->inode->names) names.push_back(name);
  return names;
}

base::Result<> Disk::make_directories(const std::string& path) {
  std::string prefix = path.starts_with('/') ? "" : ".";
  for (const auto& part : split(path)) {
    const std::string parent = prefix.empty() ? "/" : prefix;
    prefix += "/" + part;
    const auto place = find(prefix);
    if (!place) return failure(place.error(), Operation::kMakeDirectory, prefix);
    if (place->inode && !place->inode->is_directory) {
      return failure(ENOTDIR, Operation::kMakeDirectory, prefix);
    }
    // A sync of what is durable already would change nothing, and is no step of its own here.
    if (place->inode && !has_pending_name(place->inode)) continue;
    if (!place->inode) RETURN_IF_ERROR(make_directory(prefix));
    RETURN_IF_ERROR(sync_directory(parent));
  }
  return {};
}

bool Disk::has_pending_name(const InodePtr& inode) const {
  return std::any_of(pending_names_.begin(), pending_names_.end(),
                     [&](const internal::NameChange& one) { return one.subject == inode; });
}

base::Result<> Disk::make_directory(const std::string& path) {
  if (const int error_number = begin(Operation::kMakeDirectory, path)) {
    return failure(error_number, Operation::kMakeDirectory, path);
  }
  const auto place = find(path);
  if (!place) return failure(place.error(), Operation::kMakeDirectory, path);
  auto inode = make_inode(true, 0700);
  change_names({.edits = {{place->directory, place->name, inode}}, .subject = inode});
  return {};
}

base::Result<> Disk::rename(const std::string& from, const std::string& to) {
  const auto both = fmt::format("{} to {}", from, to);
  const auto refuse = [&](int error_number) {
    return failure(error_number, Operation::kRename, both);
  };
  if (const int error_number = begin(Operation::kRename, both)) return refuse(error_number);
  const auto source = find(from);
  const auto target = find(to);
  if (!source) return refuse(source.error());
  if (!target) return refuse(target.error());
  if (!source->inode) return refuse(ENOENT);
  if (source->name.empty() || target->name.empty()) return refuse(EBUSY);
  if (source->inode == target->inode) return {};
  if (is_within(*source->inode, target->directory.get())) return refuse(EINVAL);
  if (target->inode) {
    if (target->inode->is_directory && !source->inode->is_directory) return refuse(EISDIR);
    if (!target->inode->is_directory && source->inode->is_directory) return refuse(ENOTDIR);
    if (!target->inode->names.empty()) return refuse(ENOTEMPTY);
  }
  change_names({.edits = {{source->directory, source->name, nullptr},
                          {target->directory, target->name, source->inode}},
                .subject = source->inode});
  return {};
}

base::Result<> Disk::remove(const std::string& path) {
  if (const int error_number = begin(Operation::kRemove, path)) {
    return failure(error_number, Operation::kRemove, path);
  }
  const auto place = find(path);
  if (!place) return failure(place.error(), Operation::kRemove, path);
  if (!place->inode) return failure(ENOENT, Operation::kRemove, path);
  if (place->name.empty()) return failure(EBUSY, Operation::kRemove, path);
  if (!place->inode->names.empty()) return failure(ENOTEMPTY, Operation::kRemove, path);
  change_names({.edits = {{place->directory, place->name, nullptr}}, .subject = place->inode});
  return {};
}

base::Result<> Disk::remove_all(const std::string& path) {
  const auto place = find(path);
  if (!off_ && (!place || !place->inode)) return {};
  return remove_tree(path);
}

base::Result<> Disk::remove_tree(const std::string& path) {
  std::vector<std::string> names;
  if (const auto place = find(path); place && place->inode) {
    for (const auto& [name, inode] : place->inode->names) names.push_back(name);
  }
  for (const auto& name : names) RETURN_IF_ERROR(remove_tree(join_path(path, name)));
  return remove(path);
}

base::Result<> Disk::link(const std::string& from, const std::string& to) {
  const auto both = fmt::format("{} to {}", from, to);
  const auto refuse = [&](int error_number) {
    return failure(error_number, Operation::kLink, both);
  };
  if (const int error_number = begin(Operation::kLink, both)) return refuse(error_number);
  const auto source = find(from);
  const auto target = find(to);
  if (!source) return refuse(source.error());
  if (!target) return refuse(target.error());
  if (!source->inode) return refuse(ENOENT);
  if (source->inode->is_directory) return refuse(EPERM);
  if (target->inode) return refuse(EEXIST);
  change_names(
      {.edits = {{target->directory, target->name, source->inode}}, .subject = source->inode});
  return {};
}

base::Result<> Disk::sync_directory(const std::string& path) {
  if (const int error_number = begin(Operation::kSyncDirectory, path)) {
    return failure(error_number, Operation::kSyncDirectory, path);
  }
  const auto place = find(path);
  if (!place) return failure(place.error(), Operation::kSyncDirectory, path);
  if (!place->inode) return failure(ENOENT, Operation::kSyncDirectory, path);
  if (!place->inode->is_directory) return failure(ENOTDIR, Operation::kSyncDirectory, path);

  // A rename between two directories cannot become durable at one end only, and what was pending
  // before it at the other end must not come after it: that goes along.
  std::set<const Inode*> directories{place->inode.get()};
  std::vector<bool> covered(pending_names_.size());
  for (std::size_t i = pending_names_.size(); i-- > 0;) {
    const auto& edits = pending_names_[i].edits;
    covered[i] = std::any_of(edits.begin(), edits.end(), [&](const auto& edit) {
      return directories.contains(edit.directory.get());
    });
    if (!covered[i]) continue;
    for (const auto& edit : edits) directories.insert(edit.directory.get());
  }
  std::vector<NameChange> rest;
  for (std::size_t i = 0; i < pending_names_.size(); i++) {
    if (covered[i]) {
      carry_out(pending_names_[i]);
    } else {
      rest.push_back(std::move(pending_names_[i]));
    }
  }
  pending_names_ = std::move(rest);
  return {};
}

base::Result<FileSystem::Space> Disk::space(const std::string& path) {
  if (const int error_number = begin(Operation::kSpace, path)) {
    return failure(error_number, Operation::kSpace, path);
  }
  const std::uint64_t used = this->used();
  return Space{.available = capacity_ > used ? capacity_ - used : 0, .total = capacity_};
}

void Disk::crash(Crash mode) {
  cut(mode);
  power_on();
}

void Disk::cut(Crash mode) {
  life_++;
  off_ = true;
  cut_at_ = 0;
  decide_contents(mode);
  decide_names(mode);
}

void Disk::power_on() { off_ = false; }

void Disk::cut_at(std::uint64_t number, Crash mode) {
  cut_at_ = number;
  cut_mode_ = mode;
}

void Disk::decide_contents(Crash mode) {
  for (const auto& known : inodes_) {
    const auto inode = known.lock();
    if (!inode) continue;
    inode->lock_owner = nullptr;
    if (mode == Crash::kKeepAll) continue;
    if (mode == Crash::kRandom) settle_at_random(*inode, random_);
    if (mode == Crash::kTear) tear_all(*inode, random_);
    inode->pending.clear();
    inode->write_back_failed = false;
    inode->content = inode->platter;
  }
}

void Disk::decide_names(Crash mode) {
  if (mode == Crash::kKeepAll) return;
  if (mode != Crash::kLoseUnsynced) {
    Fate fate(random_, pending_names_.size());
    std::set<const Inode*> lost_subjects;
    std::set<std::pair<const Inode*, std::string>> lost_names;
    for (const auto& change : pending_names_) {
      bool lost =
          fate.next() != Fate::Outcome::kKept || lost_subjects.contains(change.subject.get());
      for (const auto& edit : change.edits) {
        lost |= lost_names.contains({edit.directory.get(), edit.name});
      }
      // A directory that moves after others that did not could end up within itself.
      lost |= change.subject->is_directory && change.edits.size() > 1 && !lost_subjects.empty();
      if (!lost) {
        carry_out(change);
        continue;
      }
      lost_subjects.insert(change.subject.get());
      for (const auto& edit : change.edits) lost_names.emplace(edit.directory.get(), edit.name);
    }
  }
  pending_names_.clear();
  for (const auto& known : inodes_) {
    if (const auto inode = known.lock()) inode->names = inode->platter_names;
  }
}

bool Disk::fail_write_back(const std::string& path) {
  const auto place = find(path);
  if (!place || !place->inode || place->inode->pending.empty()) return false;
  settle_at_random(*place->inode, random_);
  place->inode->write_back_failed = true;
  return true;
}

void Disk::flip_bit(const std::string& path, std::uint64_t offset, unsigned bit) {
  const auto place = find(path);
  CHECK_MSG(place && place->inode && !place->inode->is_directory, "no file {}", path);
  CHECK_LT(offset, place->inode->content.size());
  CHECK_LT(bit, 8u);
  for (auto* content : {&place->inode->content, &place->inode->platter}) {
    if (offset >= content->size()) continue;
    char byte = 0;
    content->read(offset, std::span(&byte, 1));
    byte = static_cast<char>(byte ^ (1 << bit));
    content->write(offset, std::string_view(&byte, 1));
  }
}

std::uint64_t Disk::used() const {
  std::set<const Inode*> counted;  // a file with two names takes its room once
  std::uint64_t bytes = 0;
  each_file([&](const std::string&, const Inode& inode) {
    if (counted.insert(&inode).second) bytes += inode.content.size();
  });
  return bytes;
}

std::map<std::string, std::string> Disk::contents() const {
  std::map<std::string, std::string> files;
  each_file([&](const std::string& path, const Inode& inode) {
    files.emplace(path, inode.content.all());
  });
  return files;
}

void Disk::each_file(const std::function<void(const std::string&, const Inode&)>& visit) const {
  std::vector<std::pair<std::string, InodePtr>> rest{{"", root_}};
  while (!rest.empty()) {
    const auto [path, inode] = std::move(rest.back());
    rest.pop_back();
    if (!inode->is_directory) visit(path, *inode);
    for (const auto& [name, child] : inode->names) rest.emplace_back(path + "/" + name, child);
  }
}

}  // namespace keelson::env::simulated
