// Runs testdata/*.txt: what is written, what happens on the way to the hub, and what streams are
// told.
//
// Writes (put, delete, txn, compact) make a batch each, which is published at once and comes to the
// hub with `hand`. Every command prints what streams were told meanwhile.
#include "testing/script.h"

#include <gtest/gtest.h>

#include "watch/world_test.h"

namespace keelson::watch {
namespace {

std::string show(std::string_view text) {
  if (text.empty()) return "''";
  if (text == std::string_view("\0", 1)) return "\\0";
  return text.size() > 30 ? fmt::format("<{} bytes>", text.size()) : std::string(text);
}

std::string unescape(const std::string& text) {
  if (text == "\\0") return std::string(1, '\0');
  const auto star = text.find('*');
  if (star == std::string::npos) return text;
  return std::string(static_cast<std::size_t>(std::stoul(text.substr(star + 1))), text[0]);
}

std::string_view name_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::kCompacted:
      return "kCompacted";
    case Refusal::kEmptyRange:
      return "kEmptyRange";
    case Refusal::kDuplicateId:
      return "kDuplicateId";
    case Refusal::kTooMany:
      return "kTooMany";
    case Refusal::kUnreadable:
      return "kUnreadable";
  }
  CHECK(false);
}

class Script {
 public:
  ~Script() {
    for (auto& [name, stream] : streams_) world_.hub.close(*stream->stream);
  }

  std::string run(const testing::Directive& directive) {
    out_.clear();
    const auto command = commands().find(directive.command);
    if (command == commands().end()) return "no such command: " + directive.command;
    (this->*command->second)(directive);
    world_.hub.check();
    return out_.empty() ? "nothing\n" : out_;
  }

 private:
  using Line = testing::Directive;

  // One stream: writes down what it is told.
  struct Told final : Outlet {
    Told(std::string n, std::string& o) : name(std::move(n)), out(o) {}
    void deliver(const Response& response) override {
      out += fmt::format("{}: {}\n", name, show_response(response));
    }
    bool is_full() const override { return full; }
    bool has_room() const override { return !full; }
    std::size_t overhead_bytes(WatchId, std::int64_t) const override { return 10; }

    static std::string show_response(const Response& response) {
      using Kind = Response::Kind;
      const std::string who = fmt::format("id={} rev={}", response.id, response.revision);
      switch (response.kind) {
        case Kind::kCreated:
          return "created " + who;
        case Kind::kRefused:
          return fmt::format("refused {} {}", who, name_of(response.refusal));
        case Kind::kEvents:
          return fmt::format(
              "events {}{}{}", who, response.fragment ? " fragment" : "",
              show_events(std::string(response.events_head).append(response.events.view())));
        case Kind::kProgress:
          return "progress " + who;
        case Kind::kCanceled:
          return "canceled " + who;
        case Kind::kCompacted:
          return fmt::format("compacted {} compact_revision={}", who, response.compact_revision);
        case Kind::kFailed:
          return fmt::format("failed {} {}", who, name_of(response.refusal));
      }
      CHECK(false);
    }
    static std::string show_events(std::string_view bytes) {
      etcdserverpb::WatchResponse response;
      CHECK(response.ParseFromString(std::string(bytes)));
      std::string text;
      for (const auto& event : response.events()) {
        const bool put = event.type() == mvccpb::Event::PUT;
        text += fmt::format(" | {} {}", put ? "put" : "delete", show(event.kv().key()));
        if (put) text += "=" + show(event.kv().value());
        text += fmt::format(" @{}", event.kv().mod_revision());
        if (event.has_prev_kv()) text += " was " + show(event.prev_kv().value());
      }
      return text;
    }

    const std::string name;
    std::string& out;
    bool full = false;
    Hub::Stream* stream = nullptr;
  };

  using Command = void (Script::*)(const Line&);
  static const std::map<std::string, Command>& commands() {
    static const std::map<std::string, Command> all = {
        {"put", &Script::put},       {"delete", &Script::erase},
        {"txn", &Script::txn},       {"compact", &Script::compact},
        {"hand", &Script::hand},     {"lose", &Script::lose},
        {"create", &Script::create}, {"cancel", &Script::cancel},
        {"close", &Script::close},   {"progress", &Script::progress},
        {"tick", &Script::tick},     {"full", &Script::full},
        {"drain", &Script::drain},   {"begin-round", &Script::begin_round},
        {"cold", &Script::cold},     {"end-round", &Script::end_round},
        {"settle", &Script::settle}, {"damage", &Script::damage},
        {"where", &Script::where},
    };
    return all;
  }

  Told& stream(const Line& line) {
    const std::string name = line.bare(0);
    auto& told = streams_[name];
    if (!told) {
      told = std::make_unique<Told>(name, out_);
      told->stream = &world_.hub.open(*told);
    }
    return *told;
  }

  // --- writing
  void wrote() { out_ += fmt::format("published={}\n", world_.published.revision); }
  void put(const Line& line) {
    const auto times = line.number("times", 1);
    for (std::int64_t i = 0; i < times; i++) world_.put(line.bare(0), unescape(line.bare(1)));
    wrote();
  }
  void erase(const Line& line) {
    world_.erase(line.bare(0), unescape(line.text("end")));
    wrote();
  }
  void txn(const Line& line) {
    std::map<std::string, std::string> changes;
    for (const auto& argument : line.arguments) {
      changes[argument.key] = argument.values.empty() ? "" : unescape(argument.values.front());
    }
    world_.txn(changes);
    wrote();
  }
  void compact(const Line& line) {
    world_.compact(std::stoll(line.bare(0)));
    out_ += fmt::format("compact_revision={}\n", world_.published.compact_revision);
  }
  void damage(const Line& line) { world_.store.damage({std::stoll(line.bare(0)), 0}); }
  void cold(const Line& line) { world_.reader.chill(line.bare(0) == "off" ? 0 : 1); }

  // --- on the way
  void hand(const Line& line) {
    const auto count = line.bare(0).empty() ? world_.channel.size() : std::stoul(line.bare(0));
    world_.hand_over(count, static_cast<std::size_t>(line.number("budget", 1'000'000)));
  }
  void lose(const Line&) { world_.lose(world_.channel.size()); }
  void begin_round(const Line&) { out_ += world_.begin_round() ? "round\n" : "no round\n"; }
  void end_round(const Line&) { world_.end_round(); }
  void settle(const Line&) { world_.settle(); }
  void where(const Line&) {
    const auto& stats = world_.hub.stats();
    out_ += fmt::format("H={} P={} watchers={} slow={}", world_.hub.revision(),
                        world_.published.revision, stats.watchers, stats.slow);
    out_ += stats.pending > 0 ? fmt::format(" pending={}\n", stats.pending) : "\n";
  }

  // --- streams
  void create(const Line& line) {
    const CreateRequest request{.key = line.bare(1) == "''" ? "" : line.bare(1),
                                .range_end = unescape(line.text("end")),
                                .start_revision = line.number("rev"),
                                .id = line.number("id"),
                                .prev_kv = line.has("prev_kv"),
                                .progress_notify = line.has("progress_notify"),
                                .fragment = line.has("fragment"),
                                .no_put = line.has("noput"),
                                .no_delete = line.has("nodelete")};
    world_.hub.create(*stream(line).stream, request, world_.published);
  }
  void cancel(const Line& line) {
    world_.hub.cancel(*stream(line).stream, std::stoll(line.bare(1)), world_.published);
  }
  void close(const Line& line) {
    world_.hub.close(*stream(line).stream);
    streams_.erase(line.bare(0));
  }
  void progress(const Line& line) {
    world_.hub.request_progress(*stream(line).stream, world_.published);
  }
  void tick(const Line& line) { world_.hub.tick(*stream(line).stream); }
  void full(const Line& line) { stream(line).full = true; }
  void drain(const Line& line) {
    stream(line).full = false;
    world_.hub.resume(*stream(line).stream);
  }

  static Hub::Options options() {
    Hub::Options options;
    options.fragment_bytes = 200;
    options.watchers_max = 20;
    options.batches_max = 50;
    options.slice = {.revisions = 5, .bytes = 1000, .records = 20, .keys = 3};
    return options;
  }

  std::string out_;
  World world_{options()};
  std::map<std::string, std::unique_ptr<Told>> streams_;
};

TEST(Watch, Scripts) {
  testing::run_scripts(KEELSON_TEST_DIR "/testdata", [] {
    auto script = std::make_shared<Script>();
    return [script](const testing::Directive& directive) { return script->run(directive); };
  });
}

}  // namespace
}  // namespace keelson::watch
