// A member's transport with nothing behind it, told by lines what to do and saying what it hears:
// for tests that hold it against etcd's own transport.
//
//   peer_member --id HEX --cluster HEX --listen HOST:PORT [--server-version V]
//               [--min-cluster-version V]
//
//   told: peer ID URL | unpeer ID | removed ID | message HEX | snapshot HEX BYTES | cut ID
//         | mend ID | full on|off | done? N | end
//   says: ready | message HEX | unreachable ID | sent ID finished|failed | removed ID
//         | file INDEX BYTES CRC32C | active COUNT (when it changes)
//         | done N
//
// Messages are those of raft, encoded. The bytes of a snapshot are (i * 31 + i / 256) mod 256.

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"
#include "env/log.h"
#include "env/posix/runtime.h"
#include "http/server.h"
#include "membership/member.h"
#include "peer/transport.h"
#include "raft/wire.h"

namespace {

using namespace keelson;

std::string from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    out += static_cast<char>(digit(text[i]) * 16 + digit(text[i + 1]));
  }
  return out;
}

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

void say(const std::string& line) {
  static std::mutex mutex;
  const std::scoped_lock lock(mutex);
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

raft::Message message_of(std::string_view hex) {
  auto decoded = raft::decode_message(base::SharedBytes(from_hex(hex)));
  CHECK(decoded.ok());
  return *std::move(decoded);
}

std::uint64_t id_of(const std::string& text) {
  const auto id = membership::parse_id(text);
  CHECK(id.has_value());
  return *id;
}

class Source final : public peer::SnapshotSource {
 public:
  Source(env::Lane& lane, std::uint64_t size) : lane_(lane), size_(size) {}
  std::uint64_t size() const override { return size_; }
  void next(base::Function<void(Piece)> done) override {
    const std::uint64_t count = std::min<std::uint64_t>(size_ - given_, 256 << 10);
    std::string bytes;
    for (std::uint64_t i = given_; i < given_ + count; ++i) {
      bytes += static_cast<char>(i * 31 + i / 256);
    }
    given_ += count;
    lane_.post([bytes = std::move(bytes), done = std::move(done)]() mutable {
      done(base::SharedBytes(std::move(bytes)));
    });
  }

 private:
  env::Lane& lane_;
  const std::uint64_t size_;
  std::uint64_t given_ = 0;
};

class Sink final : public peer::SnapshotSink {
 public:
  Sink(env::Lane& lane, raft::Index index) : lane_(lane), index_(index) {}
  void write(base::SharedBytes bytes, Done done) override {
    size_ += bytes.size();
    crc_ = base::crc32c(crc_, bytes);
    lane_.post([done = std::move(done)]() mutable { done({}); });
  }
  void finish(Done done) override {
    say(fmt::format("file {} {} {:08x}", index_, size_, crc_));
    lane_.post([done = std::move(done)]() mutable { done({}); });
  }

 private:
  env::Lane& lane_;
  const raft::Index index_;
  std::uint64_t size_ = 0;
  std::uint32_t crc_ = 0;
};

class Member final : public peer::Handler, public http::RequestRouter {
 public:
  Member(env::posix::Runtime& runtime, const peer::Options& options)
      : lane_(runtime.lane("peer")),
        connector_(peer::make_plain_connector(runtime.network())),
        transport_(lane_, *connector_, options, *this, nullptr),
        server_(lane_, port_options(), nullptr, this) {
    lane_.post([this] { watch_active(); });
  }

  bool listen(env::posix::Runtime& runtime, const std::string& address) {
    auto listener = runtime.network().listen(
        address, {}, {&lane_}, [this](auto stream) { server_.accept(std::move(stream)); });
    if (!listener) return false;
    listener_ = *std::move(listener);
    return true;
  }

  // A line; false: it was the last. From the thread that reads them.
  bool tell(const std::string& line) {
    std::istringstream words(line);
    std::string verb, first, second;
    words >> verb >> first >> second;
    if (verb == "peer") transport_.add_peer(id_of(first), {second});
    if (verb == "unpeer") transport_.remove_peer(id_of(first));
    if (verb == "cut") transport_.cut_peer(id_of(first));
    if (verb == "mend") transport_.mend_peer(id_of(first));
    if (verb == "removed") lane_.post([this, id = id_of(first)] { removed_.insert(id); });
    if (verb == "full") lane_.post([this, on = first == "on"] { full_ = on; });
    if (verb == "done?") lane_.post([first] { say("done " + first); });
    if (verb == "snapshot") {
      transport_.send_snapshot(message_of(first),
                               std::make_unique<Source>(lane_, std::stoull(second)));
    }
    if (verb == "message") {
      std::vector<raft::Message> batch;
      batch.push_back(message_of(first));
      if (!transport_.send(std::move(batch))) say("refused");
    }
    return verb != "end";
  }

 private:
  static http::ServerOptions port_options() {
    http::ServerOptions options{.access = {.applies = false}};
    options.http1.head_timeout = options.http1.idle_timeout = base::Seconds(5);
    return options;
  }

  http::Route route(const http::Request& head) override { return transport_.route(head); }

  void watch_active() {
    if (const auto count = transport_.active_peers(); count != active_) {
      active_ = count;
      say(fmt::format("active {}", count));
    }
    lane_.after(base::Milliseconds(20), [this] { watch_active(); });
  }

  bool is_removed(raft::NodeId id) const override { return removed_.contains(id); }
  bool receive(raft::Message message) override {
    if (full_) return false;
    std::string bytes;
    raft::encode(message, bytes);
    say("message " + to_hex(bytes));
    return true;
  }
  base::Result<std::unique_ptr<peer::SnapshotSink>> open_snapshot(
      const raft::Message& message) override {
    return std::make_unique<Sink>(lane_, message.snapshot->metadata.index);
  }
  void on_unreachable(raft::NodeId id) override { say("unreachable " + membership::id_text(id)); }
  void on_snapshot_sent(raft::NodeId id, peer::SnapshotOutcome outcome) override {
    say(fmt::format("sent {} {}", membership::id_text(id),
                    outcome == peer::SnapshotOutcome::kFinished ? "finished" : "failed"));
  }
  void on_member_removed(raft::NodeId by) override { say("removed " + membership::id_text(by)); }

  env::Lane& lane_;
  std::unique_ptr<peer::Connector> connector_;
  peer::Transport transport_;
  http::Server server_;
  std::unique_ptr<env::Listener> listener_;
  std::set<raft::NodeId> removed_;
  bool full_ = false;
  std::size_t active_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  peer::Options options;
  std::string listen;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string value = argv[i + 1];
    if (name == "--id") options.member_id = id_of(value);
    if (name == "--cluster") options.cluster_id = id_of(value);
    if (name == "--listen") listen = value;
    if (name == "--server-version") {
      options.server_version = membership::parse_version(value).value();
    }
    if (name == "--min-cluster-version") {
      options.min_cluster_version = membership::parse_version(value).value();
    }
  }
  options.peer_urls = {"http://" + listen};
  env::posix::Runtime runtime({{.lane = "peer", .thread = "peer"}});
  Member member(runtime, options);
  if (!member.listen(runtime, listen)) {
    fmt::print(stderr, "peer_member: cannot listen on {}\n", listen);
    return 1;
  }
  runtime.start();
  say("ready");
  std::string line;
  while (std::getline(std::cin, line) && member.tell(line)) {
  }
  runtime.stop();
  return 0;
}
