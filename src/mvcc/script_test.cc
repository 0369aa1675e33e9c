// Runs testdata/*.txt: commands on a State, each published before the next unless `begin` ...
// `publish` holds them in one batch.
#include "testing/script.h"

#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "mvcc/hash.h"
#include "mvcc/history.h"
#include "mvcc/memory_store_test.h"
#include "mvcc/record.h"
#include "mvcc/state.h"

namespace keelson::mvcc {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::TxnRequest;

// "put a 1 lease=5": words, and options with a value.
struct Line {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  std::string word(std::size_t place) const { return place < words.size() ? words[place] : ""; }
  bool has(const std::string& name) const { return options.contains(name); }
  std::string text(const std::string& name) const {
    const auto it = options.find(name);
    return it == options.end() ? "" : it->second;
  }
  std::int64_t number(const std::string& name, std::int64_t fallback = 0) const {
    return has(name) ? std::stoll(text(name)) : fallback;
  }
};

// "\0" is the byte 0, "\ff" the byte 255, "''" the empty string; "x*1000" is a thousand of them.
std::string unescape(std::string text) {
  if (text == "''") return "";
  std::string out;
  for (std::size_t at = 0; at < text.size(); at++) {
    if (text[at] != '\\') {
      out.push_back(text[at]);
      continue;
    }
    const auto digits = text.substr(at + 1, 2);
    out.push_back(static_cast<char>(std::stoi(digits, nullptr, 16)));
    at += digits.size();
  }
  const auto star = out.find('*');
  if (star == std::string::npos) return out;
  std::string repeated;
  for (int i = std::stoi(out.substr(star + 1)); i > 0; i--) repeated += out.substr(0, star);
  return repeated;
}

std::string escape(std::string_view text) {
  if (text.empty()) return "''";
  if (text.size() > 40) return fmt::format("<{} bytes>", text.size());
  return std::string(text);
}

Line line_of(const testing::Directive& directive) {
  Line line;
  for (const auto& argument : directive.arguments) {
    if (argument.values.empty()) {
      line.words.push_back(argument.key);
    } else {
      line.options[argument.key] = argument.values.front();
    }
  }
  return line;
}

Line line_of(const std::string& text) {
  Line line;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0 || word[equals - 1] == '!') {
      line.words.push_back(word);
    } else {
      line.options[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  return line;
}

PutRequest put_request(const Line& line) {
  PutRequest request;
  request.set_key(unescape(line.word(0)));
  request.set_value(unescape(line.word(1)));
  request.set_lease(line.number("lease"));
  request.set_prev_kv(line.has("prev_kv"));
  request.set_ignore_value(line.has("ignore_value"));
  request.set_ignore_lease(line.has("ignore_lease"));
  return request;
}

DeleteRangeRequest delete_request(const Line& line) {
  DeleteRangeRequest request;
  request.set_key(unescape(line.word(0)));
  request.set_range_end(unescape(line.word(1)));
  request.set_prev_kv(line.has("prev_kv"));
  return request;
}

RangeRequest range_request(const Line& line) {
  RangeRequest request;
  request.set_key(unescape(line.word(0)));
  request.set_range_end(unescape(line.word(1)));
  request.set_revision(line.number("revision"));
  request.set_limit(line.number("limit"));
  request.set_keys_only(line.has("keys_only"));
  request.set_count_only(line.has("count_only"));
  request.set_min_mod_revision(line.number("min_mod"));
  request.set_max_mod_revision(line.number("max_mod"));
  request.set_min_create_revision(line.number("min_create"));
  request.set_max_create_revision(line.number("max_create"));
  RangeRequest::SortOrder order;
  if (RangeRequest::SortOrder_Parse(line.text("order"), &order)) request.set_sort_order(order);
  RangeRequest::SortTarget target;
  if (RangeRequest::SortTarget_Parse(line.text("target"), &target)) {
    request.set_sort_target(target);
  }
  return request;
}

// "version a = 0", "value a..c != x"; "lease a = version:3" gives the operand another member.
void fill_compare(const Line& line, Compare& compare) {
  static const std::map<std::string, Compare::CompareTarget> kTargets = {
      {"version", Compare::VERSION}, {"create", Compare::CREATE},
      {"mod", Compare::MOD},         {"value", Compare::VALUE},
      {"lease", Compare::LEASE},     {"unknown", Compare::CompareTarget(77)}};
  static const std::map<std::string, Compare::CompareResult> kResults = {
      {"=", Compare::EQUAL},
      {"!=", Compare::NOT_EQUAL},
      {">", Compare::GREATER},
      {"<", Compare::LESS},
      {"?", Compare::CompareResult(77)}};
  compare.set_target(kTargets.at(line.word(0)));
  compare.set_result(kResults.at(line.word(2)));
  const std::string keys = line.word(1);
  const auto dots = keys.find("..");
  compare.set_key(unescape(keys.substr(0, dots)));
  if (dots != std::string::npos) compare.set_range_end(unescape(keys.substr(dots + 2)));
  std::string member = line.word(0), operand = line.word(3);
  if (const auto colon = operand.find(':'); colon != std::string::npos) {
    member = operand.substr(0, colon);
    operand = operand.substr(colon + 1);
  }
  if (operand.empty()) return;
  if (member == "version") compare.set_version(std::stoll(operand));
  if (member == "create") compare.set_create_revision(std::stoll(operand));
  if (member == "mod") compare.set_mod_revision(std::stoll(operand));
  if (member == "lease") compare.set_lease(std::stoll(operand));
  if (member == "value") compare.set_value(unescape(operand));
}

// Lines "if COMPARE", "then OP", "else OP"; those of a nested txn stand below it, indented by two.
TxnRequest txn_request(const std::vector<std::string>& lines, std::size_t& at, std::size_t indent) {
  TxnRequest request;
  while (at < lines.size() && lines[at].find_first_not_of(' ') == indent) {
    Line line = line_of(lines[at++]);
    const std::string what = line.words.front();
    line.words.erase(line.words.begin());
    if (what == "if") {
      fill_compare(line, *request.add_compare());
      continue;
    }
    auto& op = what == "then" ? *request.add_success() : *request.add_failure();
    const std::string kind = line.words.front();
    line.words.erase(line.words.begin());
    if (kind == "put") *op.mutable_request_put() = put_request(line);
    if (kind == "range") *op.mutable_request_range() = range_request(line);
    if (kind == "delete") *op.mutable_request_delete_range() = delete_request(line);
    if (kind == "txn") *op.mutable_request_txn() = txn_request(lines, at, indent + 2);
  }
  return request;
}

TxnRequest txn_request(const std::string& input) {
  std::vector<std::string> lines;
  std::istringstream in(input);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::size_t at = 0;
  TxnRequest request = txn_request(lines, at, 0);
  EXPECT_EQ(at, lines.size()) << "bad indentation: " << input;
  return request;
}

std::string show_kv(std::string_view encoded) {
  const auto kv = decode(encoded);
  if (!kv) return "damaged";
  std::string out =
      fmt::format("{}={} create={} mod={} version={}", escape(kv->key), escape(kv->value),
                  kv->create_revision, kv->mod_revision, kv->version);
  if (kv->lease != 0) out += fmt::format(" lease={}", kv->lease);
  return out;
}

std::string name_of(Errc errc) {
  switch (errc) {
    case Errc::kCompacted:
      return "kCompacted";
    case Errc::kFutureRevision:
      return "kFutureRevision";
    case Errc::kKeyNotFound:
      return "kKeyNotFound";
    case Errc::kLeaseNotFound:
      return "kLeaseNotFound";
    case Errc::kUnreadable:
      return "kUnreadable";
    case Errc::kTooMuchMemory:
      return "kTooMuchMemory";
  }
  CHECK(false);
}

struct Show {
  std::string indent;

  std::string operator()(const RangeResult& result) const {
    std::string out = fmt::format("{}revision={} count={}{}\n", indent, result.revision,
                                  result.count, result.more ? " more" : "");
    for (const auto& kv : result.kvs) out += indent + "  " + show_kv(kv) + "\n";
    return out;
  }
  std::string operator()(const PutResult& result) const {
    std::string out = fmt::format("{}revision={}\n", indent, result.revision);
    if (result.previous) out += fmt::format("{}  previous {}\n", indent, show_kv(*result.previous));
    return out;
  }
  std::string operator()(const DeleteResult& result) const {
    std::string out =
        fmt::format("{}revision={} deleted={}\n", indent, result.revision, result.deleted);
    for (const auto& kv : result.previous)
      out += fmt::format("{}  previous {}\n", indent, show_kv(kv));
    return out;
  }
  std::string operator()(const std::unique_ptr<TxnResult>& result) const {
    return (*this)(*result);
  }
  std::string operator()(const TxnResult& result) const {
    std::string out = fmt::format("{}revision={} {}\n", indent, result.revision,
                                  result.succeeded ? "succeeded" : "failed");
    for (const auto& response : result.responses) out += std::visit(Show{indent + "  "}, response);
    return out;
  }
};

template <class T>
std::string show(const base::Result<T, Errc>& result, const State& state) {
  if (result) {
    if constexpr (std::is_void_v<T>) {
      return "ok\n";
    } else {
      return Show{}(*result);
    }
  }
  const Errc errc = result.error();
  return "error " + name_of(errc) +
         (errc == Errc::kCompacted ? fmt::format(" compact_revision={}", state.compact_revision())
                                   : "") +
         "\n";
}

class ScriptLeases final : public Leases {
 public:
  bool exists(std::int64_t id) const override { return granted_.contains(id); }
  std::int64_t lease_of(std::string_view key) const override {
    const auto it = attached_.find(std::string(key));
    return it == attached_.end() ? 0 : it->second;
  }
  void moved(std::string_view key, std::int64_t previous, std::int64_t id) override {
    EXPECT_EQ(previous, lease_of(key));
    EXPECT_NE(previous, id);
    moves_ += fmt::format("{}: {} -> {}\n", escape(key), previous, id);
    if (id == 0) {
      attached_.erase(std::string(key));
    } else {
      attached_[std::string(key)] = id;
    }
  }
  void grant(std::int64_t id) { granted_.insert(id); }
  std::string take_moves() { return std::exchange(moves_, ""); }

 private:
  std::set<std::int64_t> granted_;
  std::map<std::string, std::int64_t> attached_;
  std::string moves_;
};

// Tells what would be hashed.
class Listing final : public base::RevisionHasher {
 public:
  void add(base::Revision revision) override { revisions_.insert(revision); }
  base::Result<std::uint32_t, base::StorageErrc> finish(std::uint32_t crc) override { return crc; }
  std::string show(const MemoryStore& store) const {
    std::string out;
    for (const auto& revision : revisions_) {
      const auto& record = store.records().at(revision);
      out += fmt::format("{} {} {}\n", revision, record.tombstone ? "delete" : "put",
                         escape(record.key()));
    }
    return out;
  }

 private:
  std::set<base::Revision> revisions_;
};

class Script {
 public:
  Script() { published_ = state_->publish(); }

  std::string run(const testing::Directive& directive) {
    const auto command = commands().find(directive.command);
    if (command == commands().end()) return "no such command: " + directive.command;
    const bool alone = batch_ == nullptr && directive.command != "begin";
    if (alone) begin();
    const std::string out = (this->*command->second)(line_of(directive), directive.input);
    if (alone && batch_ != nullptr) publish();
    return out.empty() ? "none\n" : out;
  }

 private:
  using Command = std::string (Script::*)(const Line&, const std::string&);
  static const std::map<std::string, Command>& commands() {
    static const std::map<std::string, Command> all = {
        {"put", &Script::put},
        {"delete", &Script::erase},
        {"range", &Script::range},
        {"txn", &Script::txn},
        {"compact", &Script::compact},
        {"slice", &Script::slice},
        {"revoke", &Script::revoke},
        {"lease", &Script::lease},
        {"moves", &Script::moves},
        {"events", &Script::events},
        {"stats", &Script::stats},
        {"begin", &Script::begin_batch},
        {"publish", &Script::end_batch},
        {"damage", &Script::damage},
        {"repair", &Script::repair},
        {"undecided", &Script::undecided},
        {"memory", &Script::memory},
        {"hash", &Script::hash},
        {"hash-whole", &Script::hash_whole},
        {"hash-compaction", &Script::hash_compaction},
        {"catch-up", &Script::catch_up},
        {"restart", &Script::restart},
        {"fill", &Script::fill},
        {"kept", &Script::kept},
        {"meta", &Script::meta},

    };
    return all;
  }

  void begin() {
    batch_ = std::make_unique<base::Batch>();
    state_->begin(*batch_, store_);
  }
  void publish() {
    const View next = state_->publish();
    if (published_) state_->release(published_->index.batch());
    published_ = next;
    store_.append(*batch_);
    batch_.reset();
    for (const auto& event : state_->take_events().events) events_.push_back(event);
  }

  std::string put(const Line& line, const std::string&) {
    return show(state_->put(put_request(line)), *state_);
  }
  std::string erase(const Line& line, const std::string&) {
    return show(state_->delete_range(delete_request(line)), *state_);
  }
  std::string range(const Line& line, const std::string&) {
    return show(mvcc::range(*published_, range_request(line), store_, memory_), *state_);
  }
  std::string txn(const Line& line, const std::string& input) {
    return show(state_->txn(txn_request(input), !line.has("nobody_waits")), *state_);
  }
  std::string revoke(const Line& line, const std::string&) {
    return show(state_->delete_keys(line.words), *state_);
  }
  // Runs to the end, unless it is to be done by `slice`.
  std::string compact(const Line& line, const std::string&) {
    auto done = state_->compact(std::stoll(line.word(0)));
    if (done && !line.has("hold")) drain(1000, true);
    return show(done, *state_);
  }
  std::string slice(const Line& line, const std::string&) {
    return drain(static_cast<std::size_t>(line.number("budget", 1)), line.has("all"));
  }
  std::string drain(std::size_t budget, bool all) {
    std::vector<Revision> dropped;
    bool pending = true;
    do {
      const auto progress = state_->compact_slice(budget);
      dropped.insert(dropped.end(), progress.dropped.begin(), progress.dropped.end());
      pending = progress.pending;
    } while (pending && all);
    std::string out;
    for (const auto& revision : dropped) out += fmt::format("dropped {}\n", revision);
    if (dropped.size() > 5)
      out = "dropped many\n";  // how many a slice looks at is the index's affair
    return out + (pending ? "pending\n" : "done\n");
  }
  // The history of one key in the index.
  std::string kept(const Line& line, const std::string&) {
    std::vector<Version> history;
    const auto cursor = published_->index.seek(line.word(0));
    if (cursor.valid() && cursor.key() == line.word(0)) cursor.history(history);
    std::string out;
    for (const auto& version : history) {
      out += fmt::format("{} {}\n", version.mod, version.tombstone ? "delete" : "put");
    }
    return out;
  }
  // So many keys with two versions each.
  std::string fill(const Line& line, const std::string&) {
    for (int i = 0; i < 2 * std::stoi(line.word(0)); i++) {
      PutRequest request;
      request.set_key(fmt::format("fill/{:05}", i / 2));
      EXPECT_TRUE(state_->put(request));
    }
    return fmt::format("revision={}\n", state_->revision());
  }
  std::string lease(const Line& line, const std::string&) {
    leases_.grant(std::stoll(line.word(0)));
    return "ok\n";
  }
  std::string moves(const Line&, const std::string&) { return leases_.take_moves(); }
  std::string events(const Line&, const std::string&) {
    std::string out;
    for (const Event& event : std::exchange(events_, {})) out += show_event(event);
    return out;
  }
  static std::string show_event(const Event& event) {
    std::string out =
        fmt::format("{} {} {}", event.record.revision, event.record.tombstone ? "delete" : "put",
                    show_kv(event.record.encoded));
    if (event.previous) out += fmt::format(" previous={}", *event.previous);
    return out + "\n";
  }
  std::string stats(const Line&, const std::string&) {
    const auto& stats = state_->stats();
    return fmt::format("puts={} deletes={} ranges={} txns={} put_bytes={}\n", stats.puts,
                       stats.deletes, stats.ranges, stats.txns, stats.put_bytes);
  }
  std::string begin_batch(const Line&, const std::string&) {
    begin();
    return "ok\n";
  }
  std::string end_batch(const Line&, const std::string&) {
    publish();
    return "ok\n";
  }
  std::string undecided(const Line&, const std::string&) {
    return std::to_string(state_->undecided());
  }
  std::string damage(const Line& line, const std::string&) {
    store_.damage({std::stoll(line.word(0)), line.number("sub")});
    return "ok\n";
  }
  std::string repair(const Line&, const std::string&) {
    store_.repair();
    return "ok\n";
  }
  std::string memory(const Line& line, const std::string&) {
    memory_ = std::stoull(line.word(0));
    return "ok\n";
  }

  std::string hash(const Line& line, const std::string&) {
    return covers(HashCursor::make(*published_, line.number("revision")));
  }
  std::string hash_compaction(const Line& line, const std::string&) {
    return covers(HashCursor::make_for_compaction(*published_, line.number("revision")));
  }
  std::string covers(base::Result<HashCursor, Errc> cursor) const {
    if (!cursor) return "error " + name_of(cursor.error()) + "\n";
    Listing listing;
    while (!cursor->step(1, listing)) {
    }
    return fmt::format("revision={} compact_revision={}{}\n", cursor->revision(),
                       cursor->compact_revision(), cursor->is_ambiguous() ? " ambiguous" : "") +
           listing.show(store_);
  }
  std::string hash_whole(const Line&, const std::string&) {
    Listing listing;
    WholeHashCursor cursor(*published_);
    while (!cursor.step(1, listing)) {
    }
    return listing.show(store_);
  }

  // "catch-up a c..d from=2 to=5 budget=1"; a range is written as two words with ".." between.
  std::string catch_up(const Line& line, const std::string&) {
    std::vector<std::string> bounds;
    for (const auto& word : line.words) {
      const auto dots = word.find("..");
      bounds.push_back(unescape(word.substr(0, dots)));
      bounds.push_back(dots == std::string::npos ? "" : unescape(word.substr(dots + 2)));
    }
    std::vector<KeyRange> ranges;
    for (std::size_t i = 0; i < bounds.size(); i += 2) {
      ranges.push_back(KeyRange::of(bounds[i], bounds[i + 1]));
    }
    auto cursor = HistoryCursor::make(*published_, store_, ranges, line.number("from"),
                                      line.number("to", published_->revision));
    if (!cursor) return "error " + name_of(cursor.error()) + "\n";
    std::string out;
    for (bool done = false; !done;) {
      const auto step = cursor->step(static_cast<std::size_t>(line.number("budget", 100)));
      if (!step) return out + "error " + name_of(step.error()) + "\n";
      for (const Event& event : step->events) out += show_event(event);
      out += fmt::format("through {}{}\n", step->through, step->done ? " done" : "");
      done = step->done;
    }
    return out;
  }

  std::string meta(const Line&, const std::string&) {
    return fmt::format("scheduled={} finished={}\n",
                       store_.meta_revision(base::kScheduledCompactKey),
                       store_.meta_revision(base::kFinishedCompactKey));
  }
  // `newest` in place of the newest revision stored.
  std::string restart(const Line& line, const std::string&) {
    std::map<std::string, std::vector<Version>> histories;
    for (const auto& [revision, record] : store_.records()) {
      histories[std::string(record.key())].push_back(
          {.mod = revision,
           .create_revision = record.create_revision,
           .version = record.version,
           .bytes = static_cast<std::uint32_t>(record.encoded.size()),
           .tombstone = record.tombstone});
    }
    batch_.reset();
    state_ = std::make_unique<State>(leases_, State::Options{.range_memory_budget = 4096});
    for (const auto& [key, history] : histories) state_->load(key, history);
    const auto newest = store_.records().empty() ? 0 : store_.records().rbegin()->first.main;
    state_->finish_load(line.number("newest", newest),
                        store_.meta_revision(base::kFinishedCompactKey),
                        store_.meta_revision(base::kScheduledCompactKey));
    published_ = state_->publish();
    return fmt::format("revision={} compact_revision={}{}\n", state_->revision(),
                       state_->compact_revision(), state_->compacting() ? " compacting" : "");
  }

  ScriptLeases leases_;
  MemoryStore store_;
  std::size_t memory_ = std::size_t{1} << 20;
  std::unique_ptr<State> state_ =
      std::make_unique<State>(leases_, State::Options{.range_memory_budget = 4096});
  std::unique_ptr<base::Batch> batch_;
  std::optional<View> published_;
  std::vector<Event> events_;
};

TEST(Mvcc, Scripts) {
  testing::run_scripts(KEELSON_TEST_DIR "/testdata", [] {
    return [script = std::make_shared<Script>()](const testing::Directive& directive) {
      return script->run(directive);
    };
  });
}

}  // namespace
}  // namespace keelson::mvcc
