#include "peer/kept_connection.h"

#include <utility>

#include "base/check.h"
#include "peer/dial.h"

namespace keelson::peer {

KeptConnection::KeptConnection(env::Lane& lane, Connector& connector, Options options)
    : lane_(lane), connector_(connector), options_(options) {}

KeptConnection::~KeptConnection() { lane_.cancel(timer_); }

void KeptConnection::ask(Errand errand, Done done) {
  CHECK(!busy());
  lane_.cancel(std::exchange(timer_, 0));
  errand_ = std::move(errand);
  errand_.request.host = errand_.url.host;
  done_ = std::move(done);
  const bool is_kept = client_ && client_->idle() && url_ == errand_.url;
  may_send_again_ = is_kept && errand_.may_arrive_twice;
  is_kept ? send() : dial();
}

void KeptConnection::drop() {
  lane_.cancel(std::exchange(timer_, 0));
  alive_.reset();
  client_.reset();
  done_ = nullptr;
}

void KeptConnection::dial() {
  may_send_again_ = false;
  client_.reset();
  url_ = errand_.url;
  alive_ = std::make_shared<int>();
  peer::dial(lane_, connector_, url_, errand_.dial_timeout, alive_, [this](Dialled dialled) {
    if (!dialled) return fail(dialled.error(), /*connected=*/false);
    client_ = *std::move(dialled);
    send();
  });
}

void KeptConnection::send() {
  answer_ = {};
  client_->start(errand_.request, *this);
}

void KeptConnection::on_head(const http::ResponseHead& head) {
  answer_.status = head.status;
  answer_.headers = head.headers;
}

void KeptConnection::on_body(std::string_view bytes) {
  if (answer_.body.size() + bytes.size() > options_.body_bytes_max) {
    return fail(base::make_error(std::errc::message_size, "answer to " + errand_.request.target),
                /*connected=*/true);
  }
  answer_.body += bytes;
}

void KeptConnection::on_end() { finish(std::move(answer_)); }

void KeptConnection::on_failed(const http::RequestFailure& failure) {
  if (failure.unanswered && may_send_again_) return dial();
  fail(failure.error, /*connected=*/true);
}

void KeptConnection::fail(base::Error error, bool connected) {
  client_.reset();
  finish(base::fail(NoAnswer{std::move(error), connected}));
}

void KeptConnection::finish(base::Result<Answered, NoAnswer> result) {
  errand_.request.body = {};
  if (client_ && options_.keep > base::Duration(0)) {
    timer_ = lane_.after(options_.keep, [this] {
      timer_ = 0;
      client_.reset();
    });
  } else {
    client_.reset();
  }
  std::exchange(done_, nullptr)(std::move(result));
}

}  // namespace keelson::peer
