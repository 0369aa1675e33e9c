#include "member/lease_forwarder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "member/lease_endpoints.h"
#include "membership/urls.h"
#include "peer/kept_connection.h"
#include "proto/lease.pb.h"

namespace keelson::member {
namespace {

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

class LeaseForwarder::Call {
 public:
  explicit Call(LeaseForwarder& owner)
      : owner_(owner),
        connection_(owner.lane_, owner.connector_, {.body_bytes_max = kAnswerBytesMax}) {}

  bool busy() const { return asked_.has_value(); }

  void begin(Waiting asked) {
    asked_ = std::move(asked);
    next_url_ = 0;
    try_next();
  }

 private:
  void try_next() {
    const auto& urls = asked_->question.urls;
    while (next_url_ < urls.size()) {
      if (auto url = membership::parse_url(urls[next_url_++])) return ask(*std::move(url));
    }
    finish(base::fail(Errc::kFailed));
  }

  void ask(membership::Url url) {
    const bool renew = asked_->question.kind == Kind::kRenew;
    connection_.ask({.url = std::move(url),
                     .request = {.method = "POST",
                                 .target = std::string(renew ? kLeasesPath : kLeasesInternalPath),
                                 .headers = {{"Content-Type", "application/protobuf"}},
                                 .body = base::SharedBytes(encode(asked_->question))},
                     .dial_timeout = owner_.dial_timeout_},
                    [this](const base::Result<peer::Answered, peer::NoAnswer>& answered) {
                      answered ? on_answer(*answered) : try_next();
                    });
  }

  void on_answer(const peer::Answered& answered) {
    if (answered.status == 404) return finish(base::fail(Errc::kNotFound));
    if (answered.status == 200) {
      if (auto answer = decode(asked_->question, answered.body)) return finish(*std::move(answer));
    }
    try_next();
  }

  void finish(base::Result<Answer, Errc> answer) {
    Done done = std::move(asked_->done);
    asked_.reset();
    // Not from within a call of the owner.
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
  peer::KeptConnection connection_;
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
