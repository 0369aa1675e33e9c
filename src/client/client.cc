#include "client/client.h"

#include <fmt/format.h>

#include <variant>

#include "base/check.h"

namespace keelson::client {

using http::CallEnd;
using http::CallHead;
using http::ClientCall;
using http::ClientCallHandler;
using http::Message;
using http::Status;
using http::StatusCode;

namespace {

const Status kDeadlineExceeded{StatusCode::kDeadlineExceeded, "context deadline exceeded"};

}  // namespace

// A call from its beginning to its end: keeps what it is given until there is a connection.
class Client::Stream final : public ClientCall,
                             private ClientCallHandler,
                             private http::DeadlineQueue::Entry {
 public:
  Stream(Client& client, CallHead head, ClientCallHandler& handler)
      : client_(client), handler_(&handler), state_(Waiting{.head = std::move(head)}) {
    ++client_.open_calls_;
  }
  ~Stream() override {
    leave_queues();
    state_ = Ended{};
    --client_.open_calls_;
    client_.connections_.on_call_end();
  }

  void begin() {
    Waiting& waiting = std::get<Waiting>(state_);
    if (client_.options_.endpoints.empty()) {
      return end_soon({StatusCode::kUnavailable, "etcdclient: no available endpoints"});
    }
    if (waiting.head.deadline && *waiting.head.deadline <= client_.now()) {
      return end_soon(kDeadlineExceeded);
    }
    if (auto picked = client_.connections_.pick()) return send_over(*picked);
    if (client_.waiting_.size() >= client_.options_.waiting_calls_max) {
      return end_soon({StatusCode::kResourceExhausted, "too many calls wait for a connection"});
    }
    waiting.place = client_.waiting_.insert(client_.waiting_.end(), this);
    waiting.queued = true;
    if (waiting.head.deadline) client_.deadlines_.add(*this, *waiting.head.deadline);
  }

  void send_over(Connections::Picked picked) {
    leave_queues();
    Waiting waiting = std::move(std::get<Waiting>(state_));
    peer_ = picked.endpoint->text;
    auto call = picked.client->start(std::move(waiting.head), *this);
    ClientCall& started = *state_.emplace<Started>(std::move(call)).call;
    if (waiting.paused) started.pause_reading();
    for (std::string& message : waiting.messages) send(std::move(message));
    if (waiting.half_closed) half_close();
  }

  void send(std::string message) override {
    if (auto* waiting = std::get_if<Waiting>(&state_)) {
      waiting->messages.push_back(std::move(message));
    } else if (auto* started = std::get_if<Started>(&state_)) {
      if (message.size() > client_.options_.request_bytes_max) return refuse(message.size());
      started->call->send(std::move(message));
    }
  }
  void half_close() override {
    if (auto* waiting = std::get_if<Waiting>(&state_)) waiting->half_closed = true;
    if (auto* started = std::get_if<Started>(&state_)) started->call->half_close();
  }
  std::size_t unsent_bytes() const override {
    if (const auto* started = std::get_if<Started>(&state_)) return started->call->unsent_bytes();
    std::size_t bytes = 0;
    if (const auto* waiting = std::get_if<Waiting>(&state_)) {
      for (const std::string& message : waiting->messages) bytes += message.size();
    }
    return bytes;
  }
  void pause_reading() override { set_paused(true); }
  void resume_reading() override { set_paused(false); }

  const std::string& peer() const { return peer_; }

 private:
  struct Waiting {
    CallHead head;
    std::vector<std::string> messages = {};
    bool half_closed = false;
    bool paused = false;
    bool queued = false;
    std::list<Stream*>::iterator place = {};  // in waiting_, if queued
  };
  struct Started {
    std::unique_ptr<ClientCall> call;
  };
  struct Ended {};

  void leave_queues() {
    client_.deadlines_.remove(*this);
    auto* waiting = std::get_if<Waiting>(&state_);
    if (waiting == nullptr || !std::exchange(waiting->queued, false)) return;
    client_.waiting_.erase(waiting->place);
  }

  void set_paused(bool paused) {
    if (auto* waiting = std::get_if<Waiting>(&state_)) waiting->paused = paused;
    if (auto* started = std::get_if<Started>(&state_)) {
      paused ? started->call->pause_reading() : started->call->resume_reading();
    }
  }

  void refuse(std::size_t bytes) {
    end_soon({StatusCode::kResourceExhausted,
              fmt::format("trying to send message larger than max ({} vs. {})", bytes,
                          client_.options_.request_bytes_max)});
  }

  // In a job of its own: nobody is called from inside a call.
  void end_soon(Status status) {
    if (std::holds_alternative<Ended>(state_)) return;
    leave_queues();
    state_ = Ended{};
    client_.lane_.post([this, status = std::move(status), alive = std::weak_ptr(alive_)]() mutable {
      if (!alive.expired()) tell_end({std::move(status), true});
    });
  }
  // May destroy this.
  void tell_end(CallEnd end) { std::exchange(handler_, nullptr)->on_end(std::move(end)); }

  void on_message(Message message) override { handler_->on_message(std::move(message)); }
  void on_drained() override { handler_->on_drained(); }
  void on_end(CallEnd end) override {
    client_.connections_.on_call_end();
    tell_end(std::move(end));
  }
  void on_deadline() override {
    leave_queues();
    state_ = Ended{};
    tell_end({kDeadlineExceeded, true});
  }

  Client& client_;
  ClientCallHandler* handler_;  // nullptr once it has heard the end
  std::variant<Waiting, Started, Ended> state_;
  std::string peer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

// A unary call and its attempts.
class Client::Unary final : public Call, private ClientCallHandler {
 public:
  Unary(Client& client, std::string path, Repeat repeat, std::string message, CallOptions options,
        RawDone done)
      : client_(client),
        path_(std::move(path)),
        repeat_(repeat),
        message_(std::move(message)),
        options_(std::move(options)),
        done_(std::move(done)) {
    ++client_.open_calls_;
  }
  ~Unary() override {
    if (timer_ != 0) client_.lane_.cancel(timer_);
    --client_.open_calls_;
  }

  void attempt() {
    answer_.reset();
    ClientCallHandler& handler = *this;
    auto stream = std::make_unique<Stream>(
        client_,
        CallHead{.path = path_, .metadata = options_.metadata, .deadline = options_.deadline},
        handler);
    stream->begin();
    stream->send(message_);
    stream->half_close();
    stream_ = std::move(stream);
  }

 private:
  void on_message(Message message) override { answer_ = std::move(message).take(); }

  void on_end(CallEnd end) override {
    if (end.status.ok()) {
      if (answer_) return finish(*std::move(answer_));
      end.status = {StatusCode::kInternal, "the server sent no message"};
    }
    client_.tell_failed({.path = path_,
                         .attempt = attempt_,
                         .status = end.status,
                         .peer = stream_->peer(),
                         .connection_error = client_.connection_error()});
    if (may_repeat(end)) return again();
    finish(base::fail(std::move(end.status)));
  }

  bool may_repeat(const CallEnd& end) const {
    if (end.status.code != StatusCode::kUnavailable || attempt_ + 1 >= kAttemptsMax ||
        client_.options_.endpoints.empty()) {
      return false;
    }
    return end.unprocessed || repeat_ == Repeat::kSafely;
  }

  void again() {
    ++attempt_;
    base::TimePoint due = client_.now() + client_.pause_before(attempt_);
    if (options_.deadline) due = std::min(due, *options_.deadline);
    timer_ = client_.lane_.at(due, [this] {
      timer_ = 0;
      attempt();
    });
  }

  // May destroy this.
  void finish(base::Result<std::string, Status> answer) {
    auto done = std::move(done_);
    done(std::move(answer));
  }

  Client& client_;
  const std::string path_;
  const Repeat repeat_;
  const std::string message_;
  const CallOptions options_;
  RawDone done_;
  unsigned attempt_ = 0;
  std::unique_ptr<Stream> stream_;
  std::optional<std::string> answer_;
  env::TimerId timer_ = 0;
};

Client::Client(env::Lane& lane, env::Network& network, Options options)
    : lane_(lane),
      options_(std::move(options)),
      random_(options_.seed),
      deadlines_(lane),
      connections_(lane, network, options_, [this] { on_ready(); }) {}

Client::~Client() { CHECK_EQ(open_calls_, 0u); }

std::unique_ptr<ClientCall> Client::start(CallHead head, ClientCallHandler& handler) {
  head.metadata.insert(head.metadata.end(), options_.metadata.begin(), options_.metadata.end());
  auto stream = std::make_unique<Stream>(*this, std::move(head), handler);
  stream->begin();
  return stream;
}

std::unique_ptr<Call> Client::unary(std::string path, Repeat repeat, std::string message,
                                    CallOptions options, RawDone done) {
  options.metadata.insert(options.metadata.end(), options_.metadata.begin(),
                          options_.metadata.end());
  auto call = std::make_unique<Unary>(*this, std::move(path), repeat, std::move(message),
                                      std::move(options), std::move(done));
  call->attempt();
  return call;
}

// Sending over a connection may be what makes it unusable: the rest go on waiting.
void Client::on_ready() {
  while (!waiting_.empty()) {
    auto picked = connections_.pick();
    if (!picked) return;
    waiting_.front()->send_over(*picked);
  }
}

base::Duration Client::pause_before(unsigned attempt) {
  const std::size_t majority = connections_.endpoint_count() / 2 + 1;
  if (attempt % majority != 0) return base::Duration::zero();
  const auto tenth = static_cast<std::uint64_t>(base::Duration(kRetryPause).count()) / 10;
  return kRetryPause - base::Duration(tenth) + base::Duration(random_.below(2 * tenth));
}

void Client::tell_failed(FailedAttempt failed) {
  if (options_.on_failed_attempt) options_.on_failed_attempt(failed);
}

Status Client::unparsable() {
  return {StatusCode::kInternal,
          "grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format "
          "data"};
}

}  // namespace keelson::client
