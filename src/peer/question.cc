#include "peer/question.h"

#include <optional>
#include <utility>

namespace keelson::peer {
namespace {

class AskingQuestion final : public Question {
 public:
  using Done = base::Function<void(base::Result<Answered>)>;

  AskingQuestion(env::Lane& lane, Connector& connector, Asked asked, Done done)
      : lane_(lane),
        asked_(std::move(asked)),
        done_(std::move(done)),
        connection_(lane, connector,
                    {.keep = base::Duration(0), .body_bytes_max = asked_.body_bytes_max}) {
    end_ = lane_.clock().now() + asked_.timeout;
    timer_ = lane_.at(end_, [this] {
      timer_ = 0;
      finish(base::fail(base::make_error(std::errc::timed_out, "ask " + asked_.request.target)));
    });
    start_ = lane_.after(base::Duration(0), [this] {
      start_ = 0;
      try_next();
    });
  }
  ~AskingQuestion() override {
    lane_.cancel(timer_);
    lane_.cancel(start_);
  }

 private:
  void try_next() {
    while (next_ < asked_.urls.size()) {
      const auto url = membership::parse_url(asked_.urls[next_++]);
      if (url) return ask(*url);
    }
    finish(base::fail(last_error_.value_or(
        base::make_error(std::errc::invalid_argument, "ask a member without URLs"))));
  }

  void ask(const membership::Url& url) {
    http::ClientRequest request = asked_.request;
    request.timeouts = {asked_.timeout, asked_.timeout, asked_.timeout};
    connection_.ask(
        {.url = url, .request = std::move(request), .dial_timeout = end_ - lane_.clock().now()},
        [this](base::Result<Answered, NoAnswer> answered) {
          if (answered) return finish(*std::move(answered));
          last_error_ = std::move(answered.error().error);
          answered.error().connected ? finish(base::fail(*last_error_)) : try_next();
        });
  }

  void finish(base::Result<Answered> result) {
    lane_.cancel(std::exchange(timer_, 0));
    connection_.drop();
    std::exchange(done_, nullptr)(std::move(result));
  }

  env::Lane& lane_;
  const Asked asked_;
  Done done_;
  KeptConnection connection_;
  base::TimePoint end_;
  env::TimerId timer_ = 0;
  env::TimerId start_ = 0;
  std::size_t next_ = 0;
  std::optional<base::Error> last_error_;
};

}  // namespace

std::unique_ptr<Question> ask(env::Lane& lane, Connector& connector, Asked asked,
                              base::Function<void(base::Result<Answered>)> done) {
  return std::make_unique<AskingQuestion>(lane, connector, std::move(asked), std::move(done));
}

}  // namespace keelson::peer
