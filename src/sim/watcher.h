// Watcher: one client that watches a range from the beginning on, across all lives of the server,
// and holds what it hears against the model.
//
//   Waiting --connected--> Creating --created--> Watching --lost--> Waiting, from where it was
//
//   W1  events are the model's changes in its range: each once, in order, none left out, from the
//       start revision asked for
//   W2  a change of several keys at one revision comes in one response, or in fragments
//   W3  a response without events (progress) says that everything up to its revision was told; it
//       goes on from there
//   W4  it is refused only a start below the floor; it then goes on from the floor it is told
//   W5  a previous value is the model's, and there unless it was compacted
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/random.h"
#include "env/simulated/world.h"
#include "http/grpc_client.h"
#include "sim/checker.h"

namespace keelson::sim {

class Watcher {
 public:
  struct Options {
    std::string key, range_end;
    bool previous = false;
    bool fragment = false;
    bool no_put = false, no_delete = false;  // filters
    bool progress = false;                   // wants to be told now and then, and asks too
    std::int32_t window_bytes = 65'535;
    std::uint64_t pause_one_in = 0;  // after a response it reads nothing for a while
    std::uint64_t leave_one_in = 0;  // or hangs up
  };
  Watcher(env::simulated::World& world, std::string name, std::string server, Checker& checker,
          const Model& model, Story& story, Options options);
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  void start();
  // Asks another server when its stream ends.
  void move_to(std::string server);
  const std::string& server() const { return server_; }
  // Everything that happened in its range was told.
  bool caught_up() const { return !next_in_range(place_, model_.revision()); }
  // Does nothing that delays it any more.
  void hurry();
  std::string where() const;

 private:
  struct Stream;

  void connect();
  void connect_later();
  void open();
  void hear(std::string_view bytes);
  void ended(const http::Status& status);
  void created(const etcdserverpb::WatchResponse& response);
  void cancelled(const etcdserverpb::WatchResponse& response);
  void event(const mvccpb::Event& event);
  void check_previous(const mvccpb::Event& event, const mvcc::ModelChange& change);
  void go_on_from(std::int64_t revision);
  void idle_a_while();
  // The first change in its range at or behind this place, of a revision up to `revision`.
  std::optional<std::size_t> next_in_range(std::size_t place, std::int64_t revision) const;
  bool in_range(std::string_view key) const;
  bool wants(const mvcc::ModelChange& change) const;
  void progress(std::int64_t revision);
  void violate(std::string what);

  env::Lane& lane_;
  env::Network& network_;
  const std::string name_;
  std::string server_;
  Checker& checker_;
  const Model& model_;
  Story& story_;
  Options options_;
  base::Random random_;

  std::unique_ptr<http::GrpcClient> connection_;
  std::unique_ptr<Stream> stream_;
  bool waiting_ = false;  // to connect, or for the connection
  bool created_ = false;
  std::int64_t start_ = 1;   // asked for
  std::int64_t told_ = 0;    // up to here all was told: by a whole response, or by progress
  std::size_t place_ = 0;    // in the model's changes: all before were told
  bool fragmented_ = false;  // the last response had more to come
  std::uint64_t events_ = 0;
};

}  // namespace keelson::sim
