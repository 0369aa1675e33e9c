#include "member/boot.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"
#include "env/log.h"
#include "member/log_snapshot.h"
#include "member/staged_store.h"
#include "membership/bootstrap.h"
#include "raft/wire.h"
#include "store/snapshot.h"
#include "wal/snapshotter.h"

namespace keelson::member {
namespace {

using base::fail;

constexpr std::size_t kKeysPerBreath = 2048;  // half a millisecond

BootError error(std::string text) { return BootError{std::move(text)}; }

template <class E>
BootError because(std::string_view what, const E& e) {
  return error(fmt::format("{}: {}", what, e.message()));
}

// Looks, without touching anything, whether the directory is one we may work in (B2).
struct Found {
  bool wal = false;
  bool store = false;
};

base::Result<Found, BootError> look(env::FileSystem& files, const Paths& paths) {
  const std::string database = env::join_path(paths.snap, "db");
  auto etcd_database = files.status(database);
  if (!etcd_database) return fail(because("cannot access data directory", etcd_database.error()));
  if (*etcd_database) {
    return fail(
        error(fmt::format("{} is etcd's own database; taking over an etcd data directory is not "
                          "there yet, and nothing "
                          "has been changed",
                          database)));
  }
  Found found;
  auto wal = files.status(paths.wal);
  if (!wal) return fail(because("cannot access data directory", wal.error()));
  if (*wal) {
    auto names = files.list(paths.wal);
    if (!names) return fail(because("cannot read WAL directory", names.error()));
    found.wal = std::any_of(names->begin(), names->end(),
                            [](const std::string& name) { return name.ends_with(".wal"); });
  }
  auto store = files.status(paths.store);
  if (!store) return fail(because("cannot access data directory", store.error()));
  found.store = store->has_value();
  return found;
}

base::Result<void, BootError> prepare_directories(env::FileSystem& files, const Config& config,
                                                  const Paths& paths) {
  for (const std::string& directory : {config.data_dir, paths.member, paths.snap}) {
    if (auto made = files.make_directories(directory); !made) {
      return fail(because("cannot access data directory", made.error()));
    }
    const std::string touch = env::join_path(directory, ".touch");
    if (auto written = env::write_file(files, touch, ""); !written) {
      return fail(because("cannot access data directory", written.error()));
    }
    if (auto removed = files.remove(touch); !removed) {
      return fail(because("cannot access data directory", removed.error()));
    }
  }
  return {};
}

base::Result<wal::Options, BootError> wal_options(env::FileSystem& files, const Config& config,
                                                  const Paths& paths) {
  const auto segment_bytes = wal::segment_bytes_in(files, paths.wal, config.wal_segment_bytes);
  if (!segment_bytes) {
    return fail(because("cannot look at the write-ahead log's volume", segment_bytes.error()));
  }
  // Two spares: the log's part of the reserve for a full disk.
  return wal::Options{.directory = paths.wal,
                      .segment_bytes = *segment_bytes,
                      .spares = 2,
                      .unsafe_no_fsync = config.unsafe_no_fsync};
}

// The first entries of a new cluster, durable before the member starts.
base::Result<void, BootError> write_bootstrap_entries(
    Booted& booted, const std::vector<membership::Member>& members) {
  auto entries = membership::bootstrap_entries(members);
  for (std::size_t i = 0; i < entries.size(); i++) {
    booted.entries.push_back({.type = raft::EntryType::kConfChange,
                              .term = 1,
                              .index = i + 1,
                              .data = base::SharedBytes(std::move(entries[i].data))});
  }
  booted.hard_state = {.term = 1, .vote = raft::kNone, .commit = booted.entries.size()};
  booted.wal->append(booted.hard_state, booted.entries);
  if (auto flushed = booted.wal->flush_and_sync(); !flushed) {
    return fail(because("cannot write the write-ahead log", flushed.error()));
  }
  return {};
}

base::Result<std::vector<membership::Member>, BootError> first_members(const Config& config) {
  RETURN_IF_ERROR(check_first_start(config, config.resolved_hosts));
  if (!config.new_cluster) {
    CHECK_MSG(config.running.has_value(), "nobody has asked the running cluster");
    return config.running->members;
  }
  auto members = membership::initial_members(config.initial_cluster, config.initial_cluster_token);
  if (!members) return fail(error(members.error().text));
  return *std::move(members);
}

// The check of the start has found the name among them.
Identity identity_among(const std::vector<membership::Member>& members, std::string_view name) {
  std::vector<membership::MemberId> ids;
  Identity identity;
  for (const auto& member : members) {
    ids.push_back(member.id);
    if (member.name == name) identity.member_id = member.id;
  }
  CHECK(identity.member_id != 0);
  identity.cluster_id = membership::cluster_id(std::move(ids));
  return identity;
}

base::Result<Booted, BootError> boot_new(env::FileSystem& files, const Config& config,
                                         const Paths& paths, base::WallTime now,
                                         std::uint64_t chance) {
  ASSIGN_OR_RETURN(const auto members, first_members(config));
  RETURN_IF_ERROR(prepare_directories(files, config, paths));
  Booted booted;
  booted.new_member = true;
  booted.identity = identity_among(members, config.name);
  // A cluster keeps the id that it began with, whoever has come and gone since.
  if (config.running) booted.identity.cluster_id = config.running->id;
  ASSIGN_OR_RETURN(const wal::Options log_options, wal_options(files, config, paths));
  auto wal = wal::Wal::create(files, log_options,
                              wal::encode_identity({.node_id = booted.identity.member_id,
                                                    .cluster_id = booted.identity.cluster_id}),
                              now);
  if (!wal) return fail(because("cannot create the write-ahead log", wal.error()));
  booted.wal = *std::move(wal);
  auto opened = store::Store::open(files, paths.store, store_options(config, now, chance, 0));
  if (!opened) return fail(because("cannot create the store", opened.error()));
  // A crash may have left an empty store before its log was made; one that holds something had a
  // log.
  if (opened->recovered.applied_index != 0) {
    return fail(
        error(fmt::format("{} holds data up to log entry {}, but there is no write-ahead log in {}",
                          paths.store, opened->recovered.applied_index, paths.wal)));
  }
  ASSIGN_OR_RETURN(booted.state,
                   recover_state(config, booted.identity, *opened->store, opened->recovered));
  booted.store = std::move(opened->store);
  // Who joins begins with nothing, and is told all by the leader.
  if (!config.running) RETURN_IF_ERROR(write_bootstrap_entries(booted, members));
  return booted;
}

// A snapshot that the log has a record of, and the store may not have yet: what there is to
// complete its install with (docs/design/0006-receiving-a-snapshot.md).
struct Begun {
  raft::Index index = 0;
  std::string database;  // its file
  bool has_stage = false;
  bool has_database = false;

  bool any() const { return has_stage || has_database; }
};

base::Result<Begun, BootError> look_for_begun(env::FileSystem& files, const Paths& paths,
                                              raft::Index newest) {
  Begun begun{.index = newest,
              .database = wal::Snapshotter(files, paths.snap).database_path(newest)};
  for (const auto& [path, found] : {std::pair(staged_path(paths, newest), &begun.has_stage),
                                    std::pair(begun.database, &begun.has_database)}) {
    auto status = files.status(path);
    if (!status) return fail(because("cannot access data directory", status.error()));
    *found = status->has_value();
  }
  return begun;
}

base::Result<void, BootError> import_and_install(env::FileSystem& files, const Paths& paths,
                                                 const Begun& begun, store::Options options) {
  env::log_info("Recovering from snapshot backend", {{"path", begun.database}});
  const auto refuse = [](const base::Error& e) {
    return fail(because("cannot take over the database of a snapshot", e));
  };
  auto import = StoreImport::begin(files, paths, begun.database, begun.index, std::move(options));
  if (!import) return refuse(import.error());
  for (;;) {
    const auto step = (*import)->step();
    if (!step) return refuse(step.error());
    if (*step == StoreImport::Step::kDone) break;
  }
  if (auto installed = install_staged(files, paths, begun.index); !installed) {
    return refuse(installed.error());
  }
  if (auto removed = remove_replaced(files, paths); !removed) return refuse(removed.error());
  return {};
}

// What a former life left in the directory of snapshots, and no start needs any more.
base::Result<void, BootError> tidy_snapshots(env::FileSystem& files, const Paths& paths,
                                             raft::Index newest) {
  wal::Snapshotter snapshotter(files, paths.snap);
  for (const auto& removed :
       {snapshotter.remove_unfinished(), snapshotter.remove_databases_below(newest + 1)}) {
    if (!removed) return fail(because("cannot tidy the snapshot directory", removed.error()));
  }
  return {};
}

// The store, with the snapshot that the log ends up at where its install was begun.
base::Result<store::Store::Opened, BootError> open_store(env::FileSystem& files, const Paths& paths,
                                                         const store::Options& options,
                                                         const Begun& begun, bool store_exists) {
  auto completed = complete_install(files, paths, begun.index);
  if (!completed) return fail(because("cannot install a staged store", completed.error()));
  const auto open = [&]() -> base::Result<store::Store::Opened, BootError> {
    auto opened = store::Store::open(files, paths.store, options);
    if (!opened) return fail(because("cannot open the store", opened.error()));
    return *std::move(opened);
  };
  if (store_exists || *completed || !begun.has_database) {
    ASSIGN_OR_RETURN(auto opened, open());
    if (opened.recovered.applied_index >= begun.index || !begun.has_database) return opened;
  }
  RETURN_IF_ERROR(import_and_install(files, paths, begun, options));
  return open();
}

// Those that the committed log makes members.
base::Result<std::vector<raft::NodeId>, BootError> members_at_commit(const Booted& booted) {
  base::OrderedSet<raft::NodeId> ids;
  const auto roster = booted.state->roster();
  const membership::MemberId self = booted.identity.member_id;
  for (const auto& member : roster->members) ids.insert(member.id);
  bool removed = roster->is_removed(self);
  const auto* known = roster->find(self);
  bool learner = known != nullptr && known->is_learner;
  for (const raft::Entry& entry : booted.entries) {
    if (entry.index <= booted.applied_index || entry.type != raft::EntryType::kConfChange) continue;
    const auto change = raft::decode_conf_change(entry.data.view());
    if (!change) return fail(error(fmt::format("entry {} cannot be read", entry.index)));
    switch (change->type) {
      case raft::ConfChangeType::kAddNode:
      case raft::ConfChangeType::kAddLearnerNode:
        ids.insert(change->node_id);
        if (change->node_id == self)
          learner = change->type == raft::ConfChangeType::kAddLearnerNode;
        break;
      case raft::ConfChangeType::kRemoveNode:
        ids.erase(change->node_id);
        removed = removed || change->node_id == self;
        break;
      case raft::ConfChangeType::kUpdateNode:
        break;
    }
  }
  // etcd goes on, and ends with a panic: nobody is left to vote.
  if (removed || learner) {
    return fail(
        error(fmt::format("member {} cannot begin a new cluster: it {}", membership::id_text(self),
                          removed ? "was removed from the old one" : "is a learner")));
  }
  return std::vector<raft::NodeId>(ids.begin(), ids.end());
}

void drop_uncommitted(Booted& booted) {
  auto& entries = booted.entries;
  const raft::Index commit = booted.hard_state.commit;
  const auto kept = static_cast<std::size_t>(commit - booted.snapshot.index);
  if (entries.size() <= kept) return;
  env::log_info("discarding uncommitted WAL entries",
                {{"entry-index", entries[kept].index},
                 {"commit-index-from-wal", commit},
                 {"number-of-discarded-entries", entries.size() - kept}});
  entries.resize(kept);
}

base::Result<void, BootError> force_new_cluster(Booted& booted, raft::Index wal_commit) {
  drop_uncommitted(booted);
  ASSIGN_OR_RETURN(const auto ids, members_at_commit(booted));
  const membership::MemberId self = booted.identity.member_id;
  raft::HardState& state = booted.hard_state;
  state.term = std::max<raft::Term>(state.term, 1);
  std::vector<raft::Entry> entries;
  const auto add = [&](const raft::ConfChange& change) {
    entries.push_back({.type = raft::EntryType::kConfChange,
                       .term = state.term,
                       .index = ++state.commit,
                       .data = base::SharedBytes(raft::encode(change))});
  };
  // First of all: there must always be somebody to vote.
  if (std::find(ids.begin(), ids.end(), self) == ids.end()) {
    const membership::Member member{.id = self, .peer_urls = {"http://localhost:2380"}};
    add({.type = raft::ConfChangeType::kAddNode,
         .node_id = self,
         .context = membership::member_json(member)});
  }
  for (const raft::NodeId id : ids) {
    if (id != self) add({.type = raft::ConfChangeType::kRemoveNode, .node_id = id});
  }
  booted.entries.insert(booted.entries.end(), entries.begin(), entries.end());
  booted.wal->append(state, entries);
  if (auto flushed = booted.wal->flush_and_sync(); !flushed) {
    return fail(because("cannot write the write-ahead log", flushed.error()));
  }
  env::log_info("forcing restart member",
                {{"cluster-id", membership::id_text(booted.identity.cluster_id)},
                 {"local-member-id", membership::id_text(self)},
                 {"wal-commit-index", wal_commit},
                 {"commit-index", state.commit}});
  return {};
}

base::Result<Booted, BootError> boot_again(env::FileSystem& files, const Config& config,
                                           const Paths& paths, bool store_exists,
                                           base::WallTime now, std::uint64_t chance) {
  if (!config.unsafe_no_fsync) {
    if (auto settled = wal::settle(files, paths.wal); !settled) {
      return fail(because("cannot settle the write-ahead log", settled.error()));
    }
  }
  auto snapshots = wal::valid_snapshots(files, paths.wal);
  if (!snapshots) return fail(because("failed to read WAL, cannot be repaired", snapshots.error()));
  if (snapshots->empty()) {
    return fail(
        error(fmt::format("no usable snapshot record in the write-ahead log {}", paths.wal)));
  }
  const raft::Index replay_from = snapshots->front().index;
  const raft::Index newest =
      std::max_element(snapshots->begin(), snapshots->end(),
                       [](const auto& one, const auto& other) { return one.index < other.index; })
          ->index;
  ASSIGN_OR_RETURN(const Begun begun, look_for_begun(files, paths, newest));
  if (!store_exists && replay_from != 0 && !begun.any()) {
    return fail(
        error(fmt::format("{} is missing and the write-ahead log in {} begins at entry {}: it does "
                          "not reach back to the "
                          "beginning; taking over a directory without its store is not there yet, "
                          "and nothing has been changed",
                          paths.store, paths.wal, replay_from + 1)));
  }
  RETURN_IF_ERROR(prepare_directories(files, config, paths));
  ASSIGN_OR_RETURN(auto opened,
                   open_store(files, paths, store_options(config, now, chance, replay_from), begun,
                              store_exists));
  const store::Recovered& recovered = opened.recovered;
  if (recovered.applied_index >= newest) RETURN_IF_ERROR(tidy_snapshots(files, paths, newest));

  // The newest snapshot that the store reaches. Marks may be out of order in a log that an earlier
  // build of this server wrote.
  std::erase_if(*snapshots, [&](const raft::SnapshotMetadata& one) {
    return one.index > recovered.applied_index;
  });
  const auto usable =
      std::max_element(snapshots->begin(), snapshots->end(),
                       [](const auto& one, const auto& other) { return one.index < other.index; });
  if (usable == snapshots->end()) {
    return fail(
        error(fmt::format("the store {} ends at log entry {}, before the oldest snapshot {} of the "
                          "write-ahead log {}",
                          paths.store, recovered.applied_index, replay_from, paths.wal)));
  }
  ASSIGN_OR_RETURN(const wal::Options log_options, wal_options(files, config, paths));
  auto wal = wal::Wal::open(files, log_options, {.index = usable->index, .term = usable->term});
  if (!wal) return fail(because("failed to open WAL", wal.error()));
  if (wal->recovered.repaired) env::log_warn("repaired WAL", {{"path", paths.wal}});

  Booted booted;
  booted.wal = std::move(wal->wal);
  booted.snapshot = *usable;
  booted.hard_state = wal->recovered.hard_state;
  booted.entries = std::move(wal->recovered.entries);
  booted.applied_index = recovered.applied_index;
  booted.applied_term = recovered.applied_term;
  const auto identity = wal::decode_identity(wal->recovered.metadata);
  if (!identity) {
    return fail(error(
        fmt::format("the metadata record of the write-ahead log {} cannot be read", paths.wal)));
  }
  booted.identity = {.member_id = identity->node_id, .cluster_id = identity->cluster_id};

  const raft::Index last =
      booted.entries.empty() ? booted.snapshot.index : booted.entries.back().index;
  if (recovered.applied_index > last) {
    return fail(
        error(fmt::format("the store {} holds log entry {}, but the write-ahead log {} ends at {}: "
                          "entries are missing",
                          paths.store, recovered.applied_index, paths.wal, last)));
  }
  if (booted.hard_state.commit > last && newest > last) {
    return fail(
        error(fmt::format("the write-ahead log {} ends with snapshot {}, the store {} at entry {}, "
                          "and neither {} nor "
                          "{} is there: the data of that snapshot is missing",
                          paths.wal, newest, paths.store, recovered.applied_index,
                          staged_path(paths, newest), begun.database)));
  }
  if (booted.hard_state.commit > last) {
    return fail(
        error(fmt::format("the write-ahead log {} ends at entry {}, before its commit index {}",
                          paths.wal, last, booted.hard_state.commit)));
  }
  ASSIGN_OR_RETURN(booted.state, recover_state(config, booted.identity, *opened.store, recovered));
  booted.store = std::move(opened.store);
  const auto roster = booted.state->roster();
  if (roster->version && !membership::can_serve(kServerVersion, *roster->version)) {
    return fail(error(fmt::format(
        "invalid downgrade; server version is lower than determined cluster version: {} holds the "
        "data of a cluster of version {}, this server is {}",
        paths.store, roster->version->text(), kServerVersion.text())));
  }
  booted.snapshot.conf_state = conf_state_of(*roster);
  if (last == 0 && booted.hard_state.empty() && config.new_cluster) {
    // A crash between the making of the log and its first entries: begin as a new member does.
    ASSIGN_OR_RETURN(const auto members, first_members(config));
    const Identity identity = identity_among(members, config.name);
    if (identity.member_id != booted.identity.member_id) {
      return fail(
          error(fmt::format("the empty write-ahead log {} was made for member {:x}, not for {:x}",
                            paths.wal, booted.identity.member_id, identity.member_id)));
    }
    RETURN_IF_ERROR(write_bootstrap_entries(booted, members));
  }
  // On disk commit may lag behind what was applied (formats.md 1.5).
  const raft::Index wal_commit = booted.hard_state.commit;
  booted.hard_state.commit = std::max(wal_commit, booted.applied_index);
  if (config.force_new_cluster) RETURN_IF_ERROR(force_new_cluster(booted, wal_commit));
  return booted;
}

}  // namespace

base::Result<std::unique_ptr<apply::StateMachine>, BootError> recover_state(
    const Config& config, const Identity& identity, store::Store& store,
    const store::Recovered& recovered, env::Lane::Breathe* breathe) {
  auto state = std::make_unique<apply::StateMachine>(apply::StateMachine::Options{
      .member_id = identity.member_id,
      .quota_bytes = config.effective_quota(),
      .learners_max = config.learners_max,
      .lessor = {.min_ttl = config.lease_ttl_min()},
      .mvcc = {},
  });
  for (std::size_t i = 0; i < base::kBucketCount; i++) {
    const auto bucket = static_cast<base::Bucket>(i);
    for (const auto& [key, value] : store.buckets()[bucket]) {
      if (!state->recover_bucket(bucket, key, value)) {
        return fail(error(
            fmt::format("store: a value of bucket {} cannot be read", base::bucket_name(bucket))));
      }
    }
  }
  std::vector<mvcc::Version> history;
  std::int64_t newest = recovered.newest.main;
  if (KEELSON_PLANTED(kRevisionReused)) newest = 1;
  std::size_t keys = 0;
  auto loaded = store.load([&](std::string_view key, std::span<const store::LiveRevision> live) {
    if (breathe != nullptr && ++keys % kKeysPerBreath == 0) (*breathe)();
    history.clear();
    for (const store::LiveRevision& one : live) {
      history.push_back({.mod = one.mod,
                         .create_revision = one.create_revision,
                         .version = one.version,
                         .bytes = one.bytes,
                         .tombstone = one.tombstone});
    }
    if (KEELSON_PLANTED(kRevisionReused) && !live.back().tombstone) {
      newest = std::max(newest, live.back().mod.main);
    }
    const bool hangs = !live.back().tombstone && !KEELSON_PLANTED(kLeaseAttachLost);
    state->load_key(key, history, hangs ? live.back().lease : lease::kNoLease);
  });
  if (!loaded) return fail(because("store", loaded.error()));
  if (!state->finish_recovery(newest)) {
    return fail(error("store: the membership buckets cannot be read"));
  }
  return state;
}

store::Options store_options(const Config& config, base::WallTime now, std::uint64_t chance,
                             raft::Index replay_from) {
  store::Options options = config.store;
  options.store_id = chance | 1;
  options.replay_from = replay_from;
  options.wall_now = now;
  if (KEELSON_PLANTED(kTombstoneCollectedFirst)) options.broken.drop_tombstones_unguarded = true;
  return options;
}

base::Result<void, BootError> check_first_start(const Config& config,
                                                const membership::ResolvedHosts& resolved) {
  const auto checked =
      config.new_cluster
          ? membership::check_bootstrap({.name = config.name,
                                         .advertised_peer_urls = config.advertise_peer_urls,
                                         .cluster = config.initial_cluster,
                                         .resolved = resolved})
          : membership::check_join({.name = config.name, .cluster = config.initial_cluster});
  if (!checked) return fail(error(checked.error().text));
  return {};
}

Paths Paths::of(const Config& config) {
  Paths paths;
  paths.member = env::join_path(config.data_dir, "member");
  paths.snap = env::join_path(paths.member, "snap");
  paths.wal = config.wal_dir.empty() ? env::join_path(paths.member, "wal") : config.wal_dir;
  paths.store = env::join_path(paths.member, "store");
  return paths;
}

base::Result<Booted, BootError> boot(env::FileSystem& files, const Config& config,
                                     base::WallTime wall_now, std::uint64_t chance) {
  const Paths paths = Paths::of(config);
  ASSIGN_OR_RETURN(const Found found, look(files, paths));
  ASSIGN_OR_RETURN(Booted booted,
                   found.wal ? boot_again(files, config, paths, found.store, wall_now, chance)
                             : boot_new(files, config, paths, wall_now, chance));
  auto undecided = UndecidedEntries::open(files, paths.member, paths.wal);
  if (!undecided) return fail(because("cannot read what could not be decided", undecided.error()));
  booted.undecided = *std::move(undecided);
  return booted;
}

}  // namespace keelson::member
