#include "peer/question.h"

#include <optional>
#include <utility>

#include "peer/dial.h"

namespace keelson::peer {
namespace {

class AskingQuestion final : public Question, private http::ResponseHandler {
 public:
  using Done = base::Function<void(base::Result<Answered>)>;

  AskingQuestion(env::Lane& lane, Connector& connector, Asked asked, Done done)
      : lane_(lane), connector_(connector), asked_(std::move(asked)), done_(std::move(done)) {
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
    client_.reset();
    while (next_ < asked_.urls.size()) {
      const auto url = membership::parse_url(asked_.urls[next_++]);
      if (url) return ask(*url);
    }
    finish(base::fail(last_error_.value_or(
        base::make_error(std::errc::invalid_argument, "ask a member without URLs"))));
  }

  void ask(const membership::Url& url) {
    dial(lane_, connector_, url, end_ - lane_.clock().now(), alive_,
         [this, host = url.host](Dialled dialled) {
           if (!done_) return;  // its time is over
           if (!dialled) {
             last_error_ = dialled.error();
             return try_next();
           }
           client_ = *std::move(dialled);
           http::ClientRequest request = asked_.request;
           request.host = host;
           request.timeouts = {asked_.timeout, asked_.timeout, asked_.timeout};
           client_->start(std::move(request), *this);
         });
  }

  void finish(base::Result<Answered> result) {
    lane_.cancel(std::exchange(timer_, 0));
    client_.reset();
    if (auto done = std::exchange(done_, {})) done(std::move(result));
  }

  void on_head(const http::ResponseHead& head) override {
    answer_ = {.status = head.status, .headers = head.headers, .body = {}};
  }
  void on_body(std::string_view bytes) override {
    if (answer_.body.size() + bytes.size() > asked_.body_bytes_max) {
      return finish(base::fail(
          base::make_error(std::errc::message_size, "answer to " + asked_.request.target)));
    }
    answer_.body += bytes;
  }
  void on_end() override { finish(std::move(answer_)); }
  void on_failed(const http::RequestFailure& failure) override {
    finish(base::fail(failure.error));
  }

  env::Lane& lane_;
  Connector& connector_;
  const Asked asked_;
  Done done_;
  base::TimePoint end_;
  env::TimerId timer_ = 0;
  env::TimerId start_ = 0;
  std::size_t next_ = 0;
  std::optional<base::Error> last_error_;
  Answered answer_;
  std::unique_ptr<http::Http1Client> client_;
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace

std::unique_ptr<Question> ask(env::Lane& lane, Connector& connector, Asked asked,
                              base::Function<void(base::Result<Answered>)> done) {
  return std::make_unique<AskingQuestion>(lane, connector, std::move(asked), std::move(done));
}

}  // namespace keelson::peer
