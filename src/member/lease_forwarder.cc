#include "member/lease_forwarder.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "member/lease_endpoints.h"
#include "membership/urls.h"
#include "peer/dial.h"
#include "proto/lease.pb.h"

namespace keelson::member {
namespace {

constexpr base::Duration kKeepTime = base::Seconds(3);
// Of an answer: it may name every key of a lease.
constexpr std::size_t kAnswerBytesMax = std::size_t{100} << 20;

std::string encode(const LeaseForwarder::Question& question) {
  if (question.kind == LeaseForwarder::Kind::kRenew) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(question.id);
    return request.SerializeAsString();
  }
  leasepb::LeaseInternalRequest request;
  request.mutable_leasetimetoliverequest()->set_id(question.id);
  request.mutable_leasetimetoliverequest()->set_keys(question.keys);
  return request.SerializeAsString();
}

// nullopt: no answer to this question.
std::optional<LeaseForwarder::Answer> decode(const LeaseForwarder::Question& question,
                                             const std::string& bytes) {
  if (question.kind == LeaseForwarder::Kind::kRenew) {
    etcdserverpb::LeaseKeepAliveResponse response;
    if (!response.ParseFromString(bytes) || response.id() != question.id) return std::nullopt;
    return LeaseForwarder::Answer{
        .ttl = base::Seconds(response.ttl()), .granted_ttl = {}, .keys = {}};
  }
  leasepb::LeaseInternalResponse response;
  if (!response.ParseFromString(bytes)) return std::nullopt;
  const auto& found = response.leasetimetoliveresponse();
  if (found.id() != question.id) return std::nullopt;
  return LeaseForwarder::Answer{.ttl = base::Seconds(found.ttl()),
                                .granted_ttl = base::Seconds(found.grantedttl()),
                                .keys = {found.keys().begin(), found.keys().end()}};
}

}  // namespace

class LeaseForwarder::Call final : private http::ResponseHandler {
 public:
  explicit Call(LeaseForwarder& owner) : owner_(owner) {}
  ~Call() override {
    if (timer_ != 0) owner_.lane_.cancel(timer_);
  }

  bool busy() const { return asked_.has_value(); }

  void begin(Waiting asked) {
    if (timer_ != 0) owner_.lane_.cancel(std::exchange(timer_, 0));
    asked_ = std::move(asked);
    next_url_ = 0;
    try_next();
  }

 private:
  void try_next() {
    const auto& urls = asked_->question.urls;
    while (next_url_ < urls.size()) {
      auto parsed = membership::parse_urls(std::span(&urls[next_url_++], 1));
      if (!parsed) continue;
      const bool kept = client_ && client_->idle() && url_ == parsed->front();
      url_ = std::move(parsed->front());
      return kept ? send(/*on_kept_connection=*/true) : dial();
    }
    finish(base::fail(Errc::kFailed));
  }

  void dial() {
    client_.reset();
    peer::dial(owner_.lane_, owner_.connector_, url_, owner_.dial_timeout_, alive_,
               [this](peer::Dialled dialled) {
                 if (!dialled) return try_next();
                 client_ = *std::move(dialled);
                 send(/*on_kept_connection=*/false);
               });
  }

  void send(bool on_kept_connection) {
    may_send_again_ = on_kept_connection;
    status_ = 0;
    answer_.clear();
    const bool renew = asked_->question.kind == Kind::kRenew;
    client_->start({.method = "POST",
                    .target = std::string(renew ? kLeasesPath : kLeasesInternalPath),
                    .host = url_.host,
                    .headers = {{"Content-Type", "application/protobuf"}},
                    .body = base::SharedBytes(encode(asked_->question))},
                   *this);
  }

  void on_head(const http::ResponseHead& head) override { status_ = head.status; }
  void on_body(std::string_view bytes) override {
    if (answer_.size() + bytes.size() <= kAnswerBytesMax) {
      answer_ += bytes;
    } else {
      client_.reset();
      owner_.lane_.post([this, alive = std::weak_ptr(alive_)] {
        if (!alive.expired()) try_next();
      });
    }
  }
  void on_end() override {
    if (status_ == 404) return finish(base::fail(Errc::kNotFound));
    if (status_ == 200) {
      if (auto answer = decode(asked_->question, answer_)) return finish(*std::move(answer));
    }
    try_next();
  }
  // The close of a kept connection may have crossed with the question.
  void on_failed(const http::RequestFailure& failure) override {
    if (failure.unanswered && may_send_again_) return dial();
    try_next();
  }

  void finish(base::Result<Answer, Errc> answer) {
    Done done = std::move(asked_->done);
    asked_.reset();
    if (client_ && client_->idle()) {
      timer_ = owner_.lane_.after(kKeepTime, [this] {
        timer_ = 0;
        client_.reset();
      });
    }
    // Not from within a call of the owner, nor of the connection.
    owner_.lane_.post([this, alive = std::weak_ptr(alive_), done = std::move(done),
                       answer = std::move(answer)]() mutable {
      if (alive.expired()) return;
      done(std::move(answer));
      if (!alive.expired()) owner_.start_next(*this);
    });
  }

  LeaseForwarder& owner_;
  std::optional<Waiting> asked_;
  std::size_t next_url_ = 0;
  membership::Url url_;
  std::unique_ptr<http::Http1Client> client_;
  env::TimerId timer_ = 0;  // until an idle connection is closed
  bool may_send_again_ = false;
  int status_ = 0;
  std::string answer_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

LeaseForwarder::LeaseForwarder(env::Lane& lane, peer::Connector& connector,
                               base::Duration dial_timeout)
    : lane_(lane), connector_(connector), dial_timeout_(dial_timeout) {
  for (std::size_t i = 0; i < kCallsMax; ++i) calls_.push_back(std::make_unique<Call>(*this));
}

LeaseForwarder::~LeaseForwarder() = default;

void LeaseForwarder::ask(Question question, base::Function<bool()> wanted, Done done) {
  queue_.push_back({std::move(question), std::move(wanted), std::move(done)});
  const auto idle = std::ranges::find_if(calls_, [](const auto& call) { return !call->busy(); });
  if (idle != calls_.end()) start_next(**idle);
}

void LeaseForwarder::start_next(Call& call) {
  while (!queue_.empty() && !call.busy()) {
    Waiting next = std::move(queue_.front());
    queue_.pop_front();
    if (next.wanted()) call.begin(std::move(next));
  }
}

}  // namespace keelson::member
