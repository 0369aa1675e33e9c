// A log directory of two files, whatever they hold: it is read, refused with an error, or mended,
// and a log that was opened takes entries and is read again.

#include "wal/wal.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/check.h"
#include "env/simulated/disk.h"
#include "fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace keelson;
  fuzz::Input input(data, size);
  env::simulated::Disk disk(1);
  CHECK(disk.make_directories("wal").ok());
  const std::string_view first = input.piece();
  for (const auto& [name, bytes] :
       {std::pair("0000000000000000-0000000000000000.wal", first),
        std::pair("0000000000000001-0000000000000002.wal", input.rest())}) {
    if (!bytes.empty()) CHECK(env::write_file(disk, env::join_path("wal", name), bytes).ok());
  }
  MAYBE(wal::read_log(disk, "wal", {}).ok());
  MAYBE(wal::valid_snapshots(disk, "wal").ok());
  const wal::Options options{.directory = "wal", .segment_bytes = 8192};
  auto opened = wal::Wal::open(disk, options, {});
  if (!opened) return 0;
  const auto last = opened->wal->last_index();
  // A snapshot from a leader may stand where entries are missing: a start would begin at it.
  if (last != opened->recovered.entries.size()) return 0;
  // Entries come before the hard state of their term, so a torn log may end beyond it.
  raft::Term term = opened->recovered.hard_state.term;
  for (const raft::Entry& entry : opened->recovered.entries) term = std::max(term, entry.term);
  if (term == std::numeric_limits<raft::Term>::max()) return 0;
  const raft::HardState state{
      .term = term + 1, .vote = 1, .commit = opened->recovered.hard_state.commit};
  const raft::Entry entry{
      .term = state.term, .index = last + 1, .data = base::SharedBytes(std::string("x"))};
  opened->wal->append(state, {&entry, 1});
  CHECK(opened->wal->flush_and_sync().ok());
  opened->wal.reset();
  auto again = wal::Wal::open(disk, options, {});
  CHECK_MSG(again.ok(), "{}", again.error().message());
  CHECK_EQ(again->wal->last_index(), last + 1);
  return 0;
}
