#include "sim/watcher.h"

#include <fmt/format.h>

#include <algorithm>

namespace keelson::sim {

struct Watcher::Stream final : http::ClientCallHandler {
  explicit Stream(Watcher& of) : watcher(of) {}
  void on_message(http::Message message) override { watcher.hear(message.view()); }
  void on_end(http::CallEnd end) override { watcher.ended(end.status); }

  Watcher& watcher;
  env::TimerId resume = 0;
  std::unique_ptr<http::ClientCall> call;  // last: it names this handler
};

Watcher::Watcher(env::simulated::World& world, std::string name, std::string server,
                 Checker& checker, const Model& model, Story& story, Options options)
    : lane_(world.host("clients").lane(name)),
      network_(world.host("clients").network()),
      name_(std::move(name)),
      server_(std::move(server)),
      checker_(checker),
      model_(model),
      story_(story),
      options_(std::move(options)),
      random_(world.random().next()) {}

Watcher::~Watcher() = default;

void Watcher::start() {
  lane_.post([this] { connect(); });
}

void Watcher::move_to(std::string server) {
  lane_.post([this, server = std::move(server)]() mutable { server_ = std::move(server); });
}

void Watcher::hurry() { options_.pause_one_in = options_.leave_one_in = 0; }

std::string Watcher::where() const {
  return fmt::format("{} heard {} events, up to {} of {}", name_, events_, told_,
                     model_.revision());
}

void Watcher::violate(std::string what) {
  checker_.violate(fmt::format("{}: {}", name_, std::move(what)));
}

// --- the stream

void Watcher::connect_later() {
  if (std::exchange(waiting_, true)) return;
  lane_.after(base::Milliseconds(1 + random_.below(200)), [this] {
    waiting_ = false;
    connect();
  });
}

void Watcher::connect() {
  if (waiting_ || stream_) return;
  if (connection_ && connection_->usable()) return open();
  connection_.reset();
  waiting_ = true;
  network_.connect(lane_, server_, base::Seconds(2),
                   [this](base::Result<std::unique_ptr<env::Stream>> stream) {
                     waiting_ = false;
                     if (!stream) return connect_later();
                     connection_ = std::make_unique<http::GrpcClient>(
                         lane_, *std::move(stream),
                         http::GrpcClientOptions{.stream_window_bytes = options_.window_bytes},
                         [this] { connect_later(); });
                     open();
                   });
}

void Watcher::open() {
  created_ = false;
  // What came of a revision in fragments comes again as a whole.
  if (std::exchange(fragmented_, false)) go_on_from(told_ + 1);
  start_ = told_ + 1;
  stream_ = std::make_unique<Stream>(*this);
  stream_->call = connection_->start({.path = "/etcdserverpb.Watch/Watch"}, *stream_);
  etcdserverpb::WatchRequest request;
  auto* create = request.mutable_create_request();
  create->set_key(options_.key);
  create->set_range_end(options_.range_end);
  create->set_start_revision(start_);
  create->set_prev_kv(options_.previous);
  create->set_fragment(options_.fragment);
  create->set_progress_notify(options_.progress);
  if (options_.no_put) create->add_filters(etcdserverpb::WatchCreateRequest::NOPUT);
  if (options_.no_delete) create->add_filters(etcdserverpb::WatchCreateRequest::NODELETE);
  story_.tell(name_, "watches from {}", start_);
  stream_->call->send(request.SerializeAsString());
}

void Watcher::ended(const http::Status& status) {
  story_.tell(name_, "lost its stream: {}", http::status_code_name(status.code));
  if (!leaves_open(status)) violate("the stream ended: " + status.message);
  lane_.cancel(stream_->resume);
  stream_.reset();
  connect_later();
}

void Watcher::idle_a_while() {
  if (options_.leave_one_in != 0 && random_.one_in(options_.leave_one_in)) {
    story_.tell(name_, "hangs up");
    lane_.cancel(stream_->resume);
    stream_.reset();
    return connect_later();
  }
  if (options_.pause_one_in == 0 || !random_.one_in(options_.pause_one_in)) return;
  if (stream_->resume != 0) return;
  stream_->call->pause_reading();
  stream_->resume = lane_.after(base::Milliseconds(random_.below(1500)), [this] {
    stream_->resume = 0;
    stream_->call->resume_reading();
  });
}

// --- what it hears

void Watcher::hear(std::string_view bytes) {
  etcdserverpb::WatchResponse response;
  CHECK(response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  if (response.created()) return created(response);
  if (response.canceled()) return cancelled(response);
  if (!created_) return violate("a response before it was created");
  if (response.events().empty()) return progress(response.header().revision());
  story_.tell(name_, "hears {} events up to {}{}", response.events_size(),
              response.events().rbegin()->kv().mod_revision(),
              response.fragment() ? ", more to come" : "");
  for (const auto& one : response.events()) event(one);
  if (!checker_.ok()) return;
  const std::int64_t last = response.events().rbegin()->kv().mod_revision();
  fragmented_ = response.fragment();
  if (fragmented_) checker_.saw("a fragment");
  if (fragmented_ && !options_.fragment) return violate("a fragment it did not ask for");
  if (fragmented_) {
    // Complete up to here, but perhaps not the last revision itself.
    told_ = std::max(told_, last - 1);
  } else {
    told_ = last;
    if (next_in_range(place_, last)) {
      return violate(fmt::format("revision {} came in part", last));
    }
  }
  if (options_.progress && random_.one_in(4)) {
    etcdserverpb::WatchRequest request;
    request.mutable_progress_request();
    stream_->call->send(request.SerializeAsString());
  }
  idle_a_while();
}

void Watcher::progress(std::int64_t revision) {
  checker_.saw("progress");
  story_.tell(name_, "hears of progress up to {}", revision);
  if (fragmented_ || revision > model_.revision() || next_in_range(place_, revision)) {
    return violate(fmt::format("progress at {}, but changes up to there were not told", revision));
  }
  told_ = std::max(told_, revision);
}

void Watcher::created(const etcdserverpb::WatchResponse& response) {
  if (created_) return violate("created twice");
  created_ = true;
  if (response.canceled()) cancelled(response);
}

void Watcher::cancelled(const etcdserverpb::WatchResponse& response) {
  const std::int64_t floor = response.compact_revision();
  story_.tell(name_, "is cancelled at {}, floor {}", start_, floor);
  if (floor == 0) return violate("cancelled: " + response.cancel_reason());
  if (floor > model_.floor() || start_ >= floor) {
    violate(fmt::format("refused revision {} for the floor {}; it is {}", start_, floor,
                        model_.floor()));
  }
  fragmented_ = false;
  told_ = floor - 1;
  go_on_from(floor);
  lane_.cancel(stream_->resume);
  stream_.reset();
  connect_later();
}

void Watcher::go_on_from(std::int64_t revision) {
  const auto& changes = model_.changes();
  place_ = static_cast<std::size_t>(std::lower_bound(changes.begin(), changes.end(), revision,
                                                     [](const auto& change, std::int64_t r) {
                                                       return change.revision.main < r;
                                                     }) -
                                    changes.begin());
}

void Watcher::event(const mvccpb::Event& event) {
  if (!checker_.ok()) return;
  events_++;
  const std::int64_t revision = event.kv().mod_revision();
  const auto next = next_in_range(place_, model_.revision());
  if (!next) return violate(fmt::format("an event at {} that never happened", revision));
  const mvcc::ModelChange& change = model_.changes()[*next];
  mvccpb::KeyValue expected = change.kv;
  expected.set_mod_revision(change.revision.main);
  const bool same = (event.type() == mvccpb::Event::DELETE) == change.tombstone &&
                    event.kv().SerializeAsString() == expected.SerializeAsString();
  if (!same) {
    return violate(fmt::format("heard {} | where {} {} was next", event.ShortDebugString(),
                               change.tombstone ? "deletion" : "put", expected.ShortDebugString()));
  }
  place_ = *next + 1;
  check_previous(event, change);
}

void Watcher::check_previous(const mvccpb::Event& event, const mvcc::ModelChange& change) {
  if (!event.has_prev_kv()) {
    // Its absence says: a creation, or compacted.
    if (!options_.previous || change.kv.create_revision() == change.revision.main) return;
    if (change.revision.main - 1 < model_.floor()) return;
    return violate(fmt::format("no previous value at {}", change.revision.main));
  }
  etcdserverpb::RangeRequest request;
  request.set_key(change.kv.key());
  const auto before = model_.range(request, change.revision.main - 1);
  if (!options_.previous || before.kvs_size() != 1 ||
      before.kvs(0).SerializeAsString() != event.prev_kv().SerializeAsString()) {
    violate(fmt::format("a wrong previous value at {}: {}", change.revision.main,
                        event.prev_kv().ShortDebugString()));
  }
}

bool Watcher::in_range(std::string_view key) const {
  if (options_.range_end.empty()) return key == options_.key;
  if (key < options_.key) return false;
  return options_.range_end == std::string_view("\0", 1) || key < options_.range_end;
}

bool Watcher::wants(const mvcc::ModelChange& change) const {
  return in_range(change.kv.key()) && !(change.tombstone ? options_.no_delete : options_.no_put);
}

std::optional<std::size_t> Watcher::next_in_range(std::size_t place, std::int64_t revision) const {
  const auto& changes = model_.changes();
  for (; place < changes.size() && changes[place].revision.main <= revision; place++) {
    if (wants(changes[place])) return place;
  }
  return std::nullopt;
}

}  // namespace keelson::sim
