#include "mvcc/key_index_history.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "base/search.h"

namespace keelson::mvcc::internal {
namespace {

constexpr std::uint32_t kChunkMax = 256;     // changes of one chunk
constexpr std::uint32_t kChainedChunk = 64;  // capacity of one that follows a full one
constexpr std::size_t kShortBytes = 12;
constexpr std::size_t kFullBytes = 20;
constexpr std::size_t kWideBytes = sizeof(Version);
static_assert(std::is_trivially_copyable_v<Version>);
static_assert(form_bytes(Form::kThree) == 3 * kFullBytes);
static_assert(form_bytes(Form::kFourInRun) == kFullBytes + 3 * kShortBytes);
static_assert(form_bytes(Form::kPutDeleted) == kFullBytes + kShortBytes);

// -- one change --

template <class T>
T load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <class T>
void store(char* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

// How main, sub and bytes share the 95 bits beside the tombstone mark: sub has some of each word.
struct ShortLayout {
  unsigned main_bits, sub_low_bits;    // of the first word
  unsigned sub_high_bits, bytes_bits;  // of the second, above the mark

  constexpr std::uint64_t low_mask() const { return (std::uint64_t{1} << sub_low_bits) - 1; }
  constexpr std::uint32_t bytes_mask() const { return (std::uint32_t{1} << bytes_bits) - 1; }
};
constexpr ShortLayout kPutLayout = {48, 16, 0, 31};
constexpr ShortLayout kTombstoneLayout = {44, 20, 8, 23};

// Calls with a constant, so that the common puts pay for nothing.
template <class Use>
auto with_layout(bool tombstone, const Use& use) {
  return tombstone ? use(kTombstoneLayout) : use(kPutLayout);
}

bool fits_full(const Version& v) {
  const ShortLayout layout = v.tombstone ? kTombstoneLayout : kPutLayout;
  if (v.mod.main < 0 || v.mod.main >> layout.main_bits != 0) return false;
  if (v.mod.sub < 0 || v.mod.sub >> (layout.sub_low_bits + layout.sub_high_bits) != 0) return false;
  if (v.bytes >> layout.bytes_bits != 0) return false;
  if (v.tombstone) return v.create_revision == 0 && v.version == 0;
  return v.version >= 0 && v.version >> 32 == 0 && v.create_revision >= 0 &&
         v.create_revision <= v.mod.main && (v.mod.main - v.create_revision) >> 32 == 0;
}

void write_short(char* to, const Version& v) {
  with_layout(v.tombstone, [&](const ShortLayout& layout) {
    const auto main = static_cast<std::uint64_t>(v.mod.main);
    const auto sub = static_cast<std::uint64_t>(v.mod.sub);
    const auto high = static_cast<std::uint32_t>(sub >> layout.sub_low_bits);
    store<std::uint64_t>(to, main << layout.sub_low_bits | (sub & layout.low_mask()));
    store<std::uint32_t>(to + 8,
                         (high << layout.bytes_bits | v.bytes) << 1 | (v.tombstone ? 1 : 0));
  });
}

bool is_tombstone(const char* from) { return (load<std::uint32_t>(from + 8) & 1) != 0; }

std::int64_t main_of_short(const char* from) {
  return with_layout(is_tombstone(from), [&](const ShortLayout& layout) {
    return static_cast<std::int64_t>(load<std::uint64_t>(from) >> layout.sub_low_bits);
  });
}

Version read_short(const char* from) {
  Version v;
  v.tombstone = is_tombstone(from);
  with_layout(v.tombstone, [&](const ShortLayout& layout) {
    const auto revision = load<std::uint64_t>(from);
    const std::uint64_t rest = load<std::uint32_t>(from + 8) >> 1;
    const std::uint64_t sub =
        rest >> layout.bytes_bits << layout.sub_low_bits | (revision & layout.low_mask());
    v.mod = {static_cast<std::int64_t>(revision >> layout.sub_low_bits),
             static_cast<std::int64_t>(sub)};
    v.bytes = static_cast<std::uint32_t>(rest) & layout.bytes_mask();
  });
  if (!v.tombstone) {
    v.create_revision = v.mod.main;
    v.version = 1;
  }
  return v;
}

void write_full(char* to, const Version& v) {
  write_short(to, v);
  store(to + 12, static_cast<std::uint32_t>(v.version));
  store(to + 16, v.tombstone ? 0 : static_cast<std::uint32_t>(v.mod.main - v.create_revision));
}

Version read_full(const char* from) {
  Version v = read_short(from);
  if (!v.tombstone) {
    v.version = load<std::uint32_t>(from + 12);
    v.create_revision = v.mod.main - load<std::uint32_t>(from + 16);
  }
  return v;
}

// -- runs --

// What all changes of a run have in common.
struct RunBase {
  std::int64_t create_revision = 0;
  std::uint32_t version = 0;  // of the change with number 0
  std::uint32_t unused = 0;
};

bool continues(const RunBase& base, std::uint64_t number, const Version& v) {
  return !v.tombstone && fits_full(v) && v.create_revision == base.create_revision &&
         v.version == static_cast<std::int64_t>(base.version + number);
}

RunBase run_base(const Version& first) {
  return {first.create_revision, static_cast<std::uint32_t>(first.version)};
}

bool is_run(std::span<const Version> changes) {
  const RunBase base = run_base(changes.front());
  for (std::size_t i = 0; i < changes.size(); i++) {
    if (!continues(base, i, changes[i])) return false;
  }
  return true;
}

// `from` has the short form of change `number`.
Version read_of_run(const RunBase& base, std::uint64_t number, const char* from) {
  Version v = read_short(from);
  v.create_revision = base.create_revision;
  v.version = static_cast<std::int64_t>(base.version + number);
  return v;
}

// -- chunks --

// How the changes of a chunk are coded; each can hold what those before it can.
enum class Coding : std::uint8_t { kRun, kFull, kWide };

Coding coding_for(std::span<const Version> changes) {
  if (is_run(changes)) return Coding::kRun;
  return std::all_of(changes.begin(), changes.end(), fits_full) ? Coding::kFull : Coding::kWide;
}

std::size_t entry_bytes_of(Coding coding) {
  switch (coding) {
    case Coding::kRun:
      return kShortBytes;
    case Coding::kFull:
      return kFullBytes;
    case Coding::kWide:
      return kWideBytes;
  }
  base::check_failed(__FILE__, __LINE__, "a coding");
}

struct Chunk;

// What a chunk knows of those before it. `jump` skips many, so that finding an old change takes
// O(log n) steps: the chain is a skew-binary list (Myers, "An applicative random-access stack",
// 1983).
struct Link {
  const Chunk* previous = nullptr;
  const Chunk* jump = nullptr;
  std::uint64_t number = 0;  // previous->number + 1
  std::uint64_t jump_number = 0;
};

struct Chunk : Object {
  std::uint16_t capacity;
  std::uint16_t used;  // the writer's alone
  Coding coding;
  bool chained;  // a Link follows, else it has number 0; then, of a run, its RunBase
  std::uint16_t unused;

  Link link() const {
    Link link;
    if (chained) std::memcpy(&link, this + 1, sizeof(Link));
    return link;
  }
  std::size_t entry_bytes() const { return entry_bytes_of(coding); }
  std::size_t link_end() const { return sizeof(Chunk) + (chained ? sizeof(Link) : 0); }
  std::size_t head_bytes() const {
    return link_end() + (coding == Coding::kRun ? sizeof(RunBase) : 0);
  }
  std::size_t bytes() const { return head_bytes() + capacity * entry_bytes(); }
  const char* entry(std::uint64_t i) const {
    return reinterpret_cast<const char*>(this) + head_bytes() + i * entry_bytes();
  }
  RunBase base() const { return load<RunBase>(reinterpret_cast<const char*>(this) + link_end()); }
  Version at(std::uint64_t i) const {
    switch (coding) {
      case Coding::kRun:
        return read_of_run(base(), i, entry(i));
      case Coding::kFull:
        return read_full(entry(i));
      case Coding::kWide:
        return load<Version>(entry(i));
    }
    base::check_failed(__FILE__, __LINE__, "a coding");
  }
  std::int64_t main_at(std::uint64_t i) const {
    return coding == Coding::kWide ? load<Version>(entry(i)).mod.main : main_of_short(entry(i));
  }
  // Whether `v` can be the change with number `i`.
  bool can_hold(std::uint64_t i, const Version& v) const {
    switch (coding) {
      case Coding::kRun:
        return continues(base(), i, v);
      case Coding::kFull:
        return fits_full(v);
      case Coding::kWide:
        return true;
    }
    base::check_failed(__FILE__, __LINE__, "a coding");
  }
  void append(const Version& v) {
    CHECK_LT(used, capacity);
    char* to = const_cast<char*>(entry(used));
    switch (coding) {
      case Coding::kRun:
        write_short(to, v);
        break;
      case Coding::kFull:
        write_full(to, v);
        break;
      case Coding::kWide:
        store(to, v);
        break;
    }
    used++;
  }
};
static_assert(sizeof(Chunk) == 16);

// An empty chunk whose first change will be `first`.
Chunk* make_chunk(Memory& memory, std::uint64_t capacity, Coding coding, const Version& first,
                  const Link* link) {
  Chunk head{};
  head.capacity = static_cast<std::uint16_t>(capacity);
  head.coding = coding;
  head.chained = link != nullptr;
  auto* chunk = static_cast<Chunk*>(memory.allocate(head.bytes()));
  head.birth = chunk->birth;
  std::memcpy(static_cast<void*>(chunk), &head, sizeof(Chunk));
  if (link != nullptr) std::memcpy(static_cast<void*>(chunk + 1), link, sizeof(Link));
  if (coding == Coding::kRun) {
    store(reinterpret_cast<char*>(chunk) + chunk->link_end(), run_base(first));
  }
  return chunk;
}

// The payload of kChunks.
struct Chunks {
  Chunk* newest = nullptr;
  std::uint64_t end = 0;    // in the newest chunk, 1 .. 256
  std::uint64_t count = 0;  // changes kept

  // The place of the oldest change kept, counted from the start of chunk 0.
  std::uint64_t first() const { return newest->link().number * kChunkMax + end - count; }
  std::uint64_t oldest_chunk() const { return first() / kChunkMax; }
};

Chunks chunks_of(History history) {
  const auto end_and_count = load<std::uint64_t>(history.bytes + 8);
  return {load<Chunk*>(history.bytes), end_and_count & 0xFFFF, end_and_count >> 16};
}

PackedHistory pack(const Chunks& chunks) {
  CHECK_EQ(chunks.count >> 48, 0u);
  PackedHistory packed;
  packed.form = Form::kChunks;
  store(packed.bytes.data(), chunks.newest);
  store(packed.bytes.data() + 8, chunks.end | chunks.count << 16);
  return packed;
}

// Where the newest change lies is said by the head of its chunk. Most are short ones, so that both
// lines can come from memory at once.
void prefetch_newest(const Chunks& chunks) {
  const std::size_t chained = sizeof(Chunk) + sizeof(Link) + sizeof(RunBase);
  const char* const chunk = reinterpret_cast<const char*>(chunks.newest);
  __builtin_prefetch(chunk);
  __builtin_prefetch(chunk + chained + (chunks.end - 1) * kShortBytes);
}

// From `newest` back to the newest chunk for which `there` holds, which must hold for the oldest.
// `there` is asked of chunks that are kept only.
template <class There>
const Chunk* walk_back(const Chunk* newest, std::uint64_t oldest, const There& there) {
  const Chunk* chunk = newest;
  for (;;) {
    const Link link = chunk->link();
    if (link.number <= oldest || there(chunk, link.number)) return chunk;
    const bool far = link.jump_number >= oldest && !there(link.jump, link.jump_number);
    chunk = far ? link.jump : link.previous;
  }
}

// The kept chunk that holds number `number`.
const Chunk* chunk_number(const Chunks& chunks, std::uint64_t number) {
  return walk_back(chunks.newest, chunks.oldest_chunk(),
                   [&](const Chunk*, std::uint64_t n) { return n <= number; });
}

Link link_after(const Chunk* previous, std::uint64_t oldest) {
  const Link back = previous->link();
  Link link{previous, previous, back.number + 1, back.number};
  // Two jumps of one length before us: ours spans both.
  if (back.number > oldest && back.jump_number >= oldest) {
    const Link jump = back.jump->link();
    if (jump.jump != nullptr &&
        back.number - back.jump_number == back.jump_number - jump.jump_number) {
      link.jump = jump.jump;
      link.jump_number = jump.jump_number;
    }
  }
  return link;
}

// Room for some more: most histories end soon, and a larger chunk is a copy of a few lines.
std::uint64_t grown(std::uint64_t count) {
  return std::min<std::uint64_t>(count + std::max<std::uint64_t>(count / 4, 1), kChunkMax);
}

// Chunks with these changes, the newest with room for `capacity` in all.
Chunks make_chunks(Memory& memory, std::span<const Version> changes, std::uint64_t capacity) {
  Chunks chunks;
  std::uint64_t oldest = 0;
  while (!changes.empty()) {
    const auto part = changes.first(std::min<std::size_t>(changes.size(), kChunkMax));
    changes = changes.subspan(part.size());
    const Link link = chunks.newest == nullptr ? Link() : link_after(chunks.newest, oldest);
    Chunk* chunk = make_chunk(
        memory,
        changes.empty() ? std::clamp<std::uint64_t>(capacity, part.size(), kChunkMax) : kChunkMax,
        coding_for(part), part.front(), chunks.newest == nullptr ? nullptr : &link);
    for (const Version& v : part) chunk->append(v);
    chunks = {chunk, part.size(), chunks.count + part.size()};
  }
  return chunks;
}

// Discards (or frees) the chunks of `chunks` with numbers below `until`.
template <class Free>
void free_chunks(const Chunks& chunks, std::uint64_t until, const Free& free) {
  const std::uint64_t oldest = chunks.oldest_chunk();
  if (oldest >= until) return;
  const Chunk* chunk = chunk_number(chunks, until - 1);
  for (;;) {
    const Link link = chunk->link();
    free(chunk, chunk->bytes());
    if (link.number == oldest) return;
    chunk = link.previous;
  }
}

// -- all forms --

std::uint64_t inline_count(Form form) {
  switch (form) {
    case Form::kFresh:
    case Form::kTombstone:
    case Form::kPut:
      return 1;
    case Form::kTwo:
    case Form::kTwoInRun:
    case Form::kFreshDeleted:
    case Form::kPutDeleted:
      return 2;
    case Form::kThree:
    case Form::kThreeInRun:
      return 3;
    case Form::kFourInRun:
      return 4;
    case Form::kChild:
    case Form::kChunks:
      break;
  }
  base::check_failed(__FILE__, __LINE__, "a history inside its leaf");
}

Version inline_change(History history, std::uint64_t i) {
  switch (history.form) {
    case Form::kFresh:
    case Form::kTombstone:
      return read_short(history.bytes);
    case Form::kPut:
    case Form::kTwo:
    case Form::kThree:
      return read_full(history.bytes + i * kFullBytes);
    case Form::kTwoInRun:
    case Form::kThreeInRun:
    case Form::kFourInRun: {
      const Version first = read_full(history.bytes);
      if (i == 0) return first;
      return read_of_run(run_base(first), i, history.bytes + kFullBytes + (i - 1) * kShortBytes);
    }
    case Form::kFreshDeleted:
      return read_short(history.bytes + i * kShortBytes);
    case Form::kPutDeleted:
      return i == 0 ? read_full(history.bytes) : read_short(history.bytes + kFullBytes);
    case Form::kChild:
    case Form::kChunks:
      break;
  }
  base::check_failed(__FILE__, __LINE__, "a history inside its leaf");
}

// The form that holds these changes in the leaf; kChunks if none does.
Form inline_form(std::span<const Version> changes) {
  if (changes.size() > kInlineChangesMax) return Form::kChunks;
  const Version& first = changes.front();
  const bool is_fresh = first.version == 1 && first.create_revision == first.mod.main;
  if (changes.size() == 1 && fits_full(first)) {
    return first.tombstone ? Form::kTombstone : is_fresh ? Form::kFresh : Form::kPut;
  }
  if (is_run(changes)) {
    constexpr std::array kForms = {Form::kTwoInRun, Form::kThreeInRun, Form::kFourInRun};
    return kForms[changes.size() - 2];
  }
  if (!std::all_of(changes.begin(), changes.end(), fits_full)) return Form::kChunks;
  if (changes.size() == 2 && !first.tombstone && changes.back().tombstone) {
    return is_fresh ? Form::kFreshDeleted : Form::kPutDeleted;
  }
  return changes.size() == 2 ? Form::kTwo : changes.size() == 3 ? Form::kThree : Form::kChunks;
}

PackedHistory make_with_capacity(Memory& memory, std::span<const Version> changes,
                                 std::uint64_t capacity) {
  CHECK(!changes.empty());
  PackedHistory packed;
  packed.form = inline_form(changes);
  char* to = packed.bytes.data();
  switch (packed.form) {
    case Form::kFresh:
    case Form::kTombstone:
      write_short(to, changes.front());
      return packed;
    case Form::kPut:
    case Form::kTwo:
    case Form::kThree:
      for (const Version& v : changes) write_full(to, v), to += kFullBytes;
      return packed;
    case Form::kTwoInRun:
    case Form::kThreeInRun:
    case Form::kFourInRun:
      write_full(to, changes.front()), to += kFullBytes;
      for (const Version& v : changes.subspan(1)) write_short(to, v), to += kShortBytes;
      return packed;
    case Form::kFreshDeleted:
      for (const Version& v : changes) write_short(to, v), to += kShortBytes;
      return packed;
    case Form::kPutDeleted:
      write_full(to, changes.front());
      write_short(to + kFullBytes, changes.back());
      return packed;
    case Form::kChild:
    case Form::kChunks:
      break;
  }
  return pack(make_chunks(memory, changes, capacity));
}

// A new history of the newest `count` changes and perhaps one more; the old one is discarded.
PackedHistory rebuild(Memory& memory, History history, std::uint64_t count, const Version* more) {
  std::vector<Version> changes;
  append_changes(history, change_count(history) - count, count, changes);
  std::uint64_t capacity = changes.size();
  if (more != nullptr) {
    changes.push_back(*more);
    capacity = grown(changes.size());
  }
  const PackedHistory packed = make_with_capacity(memory, changes, capacity);
  discard_history(memory, history);
  return packed;
}

}  // namespace

std::uint64_t change_count(History history) {
  return history.form == Form::kChunks ? chunks_of(history).count : inline_count(history.form);
}

Version newest_change(History history) {
  if (history.form != Form::kChunks) return inline_change(history, inline_count(history.form) - 1);
  const Chunks chunks = chunks_of(history);
  return chunks.newest->at(chunks.end - 1);
}

Found find_change(History history, std::int64_t revision) {
  if (history.form != Form::kChunks) {
    for (std::uint64_t i = inline_count(history.form); i > 0; i--) {
      const Version v = inline_change(history, i - 1);
      if (v.mod.main <= revision) return {i, v};
    }
    return {};
  }
  const Chunks chunks = chunks_of(history);
  prefetch_newest(chunks);
  if (chunks.newest->main_at(chunks.end - 1) <= revision) {
    return {chunks.count, chunks.newest->at(chunks.end - 1)};
  }
  const std::uint64_t first = chunks.first(), oldest = first / kChunkMax;
  const auto low_of = [&](std::uint64_t number) {
    return number == oldest ? first % kChunkMax : std::uint64_t{0};
  };
  const Chunk* chunk =
      walk_back(chunks.newest, oldest, [&](const Chunk* candidate, std::uint64_t number) {
        return candidate->main_at(low_of(number)) <= revision;
      });
  const std::uint64_t number = chunk->link().number;
  const std::uint64_t end = chunk == chunks.newest ? chunks.end : kChunkMax;
  const std::uint64_t beyond = base::partition_place(
      low_of(number), end, [&](std::uint64_t place) { return chunk->main_at(place) <= revision; });
  const std::uint64_t rank = number * kChunkMax + beyond - first;
  return rank == 0 ? Found() : Found{rank, chunk->at(beyond - 1)};
}

void append_changes(History history, std::uint64_t first, std::uint64_t limit,
                    std::vector<Version>& out) {
  const std::uint64_t count = change_count(history);
  if (first >= count) return;
  const std::uint64_t last = first + std::min(limit, count - first);
  if (history.form != Form::kChunks) {
    for (std::uint64_t i = first; i < last; i++) out.push_back(inline_change(history, i));
    return;
  }
  if (first == last) return;
  const Chunks chunks = chunks_of(history);
  const std::uint64_t begin = chunks.first() + first, end = chunks.first() + last;
  std::vector<const Chunk*> run;  // newest first
  const Chunk* chunk = chunk_number(chunks, (end - 1) / kChunkMax);
  for (std::uint64_t n = (end - 1) / kChunkMax;; n--, chunk = chunk->link().previous) {
    run.push_back(chunk);
    if (n == begin / kChunkMax) break;
  }
  for (std::uint64_t place = begin; place < end; place++) {
    const std::uint64_t back = (end - 1) / kChunkMax - place / kChunkMax;
    out.push_back(run[back]->at(place % kChunkMax));
  }
}

PackedHistory make_history(Memory& memory, std::span<const Version> changes) {
  return make_with_capacity(memory, changes, changes.size());
}

PackedHistory with_change(Memory& memory, History history, const Version& change) {
  if (history.form != Form::kChunks) {
    std::array<Version, kInlineChangesMax + 1> changes;
    const std::uint64_t count = inline_count(history.form);
    for (std::uint64_t i = 0; i < count; i++) changes[i] = inline_change(history, i);
    changes[count] = change;
    return make_with_capacity(memory, std::span(changes).first(count + 1), grown(count + 1));
  }
  const Chunks chunks = chunks_of(history);
  Chunk* newest = chunks.newest;
  CHECK_EQ(newest->used, chunks.end);  // histories have one future
  const bool fits = newest->can_hold(chunks.end, change);
  if (chunks.end < newest->capacity && fits) {
    newest->append(change);
    return pack({newest, chunks.end + 1, chunks.count + 1});
  }
  // Few are kept: copy them, leave what was compacted behind.
  if (chunks.count <= kChunkMax / 2) return rebuild(memory, history, chunks.count, &change);
  if (chunks.end == kChunkMax) {
    const Link link = link_after(newest, chunks.oldest_chunk());
    Chunk* next =
        make_chunk(memory, kChainedChunk, coding_for(std::span(&change, 1)), change, &link);
    next->append(change);
    return pack({next, 1, chunks.count + 1});
  }
  // A larger or wider copy of the newest chunk; places in the chain stay as they are.
  const Link link = newest->link();
  const Coding coding = fits ? newest->coding : fits_full(change) ? Coding::kFull : Coding::kWide;
  Chunk* copy = make_chunk(memory, grown(chunks.end + 1), coding, newest->at(0),
                           newest->chained ? &link : nullptr);
  for (std::uint64_t i = 0; i < chunks.end; i++) copy->append(newest->at(i));
  copy->append(change);
  memory.discard(newest, newest->bytes());
  return pack({copy, chunks.end + 1, chunks.count + 1});
}

PackedHistory without_oldest(Memory& memory, History history, std::uint64_t dropped) {
  const std::uint64_t count = change_count(history);
  CHECK_LT(dropped, count);
  const std::uint64_t left = count - dropped;
  if (history.form != Form::kChunks) return rebuild(memory, history, left, nullptr);
  const Chunks chunks = chunks_of(history);
  const Chunks kept{chunks.newest, chunks.end, left};
  const std::uint64_t held =
      (chunks.newest->link().number - kept.oldest_chunk()) * kChunkMax + chunks.newest->capacity;
  if (left <= kInlineChangesMax || left * 4 <= held) return rebuild(memory, history, left, nullptr);
  free_chunks(chunks, kept.oldest_chunk(),
              [&](const Chunk* chunk, std::size_t bytes) { memory.discard(chunk, bytes); });
  return pack(kept);
}

void discard_history(Memory& memory, History history) {
  if (history.form != Form::kChunks) return;
  const Chunks chunks = chunks_of(history);
  free_chunks(chunks, chunks.newest->link().number + 1,
              [&](const Chunk* chunk, std::size_t bytes) { memory.discard(chunk, bytes); });
}

void destroy_history(Memory& memory, History history) {
  if (history.form != Form::kChunks) return;
  const Chunks chunks = chunks_of(history);
  free_chunks(chunks, chunks.newest->link().number + 1,
              [&](const Chunk* chunk, std::size_t bytes) { memory.destroy(chunk, bytes); });
}

}  // namespace keelson::mvcc::internal
