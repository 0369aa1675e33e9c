// A server's answers to the HTTP/1.1 client: any bytes at all, in any pieces, read and not read.

#include "http/http1_client.h"

#include <memory>
#include <optional>
#include <string>

#include "base/check.h"
#include "fuzz/input.h"
#include "http/fake_env.h"

namespace keelson::fuzz {
namespace {

class Asking final : public http::ResponseHandler {
 public:
  explicit Asking(std::unique_ptr<env::Stream> stream, http::fake::FakeLane& lane)
      : client(std::in_place, lane, std::move(stream), 1024) {}

  void ask(std::uint8_t how) {
    if (!client->idle()) return;
    open = true;
    head = false;
    client->start({.method = (how & 1) != 0   ? "POST"
                             : (how & 2) != 0 ? "HEAD"
                                              : "GET",
                   .target = "/x",
                   .streamed = (how & 1) != 0},
                  *this);
  }
  void on_head(const http::ResponseHead& answer) override {
    CHECK(open && !head && !paused);
    CHECK(answer.status >= 200);
    head = true;
  }
  void on_body(std::string_view bytes) override {
    CHECK(open && head && !paused);
    if (!bytes.empty() && bytes.front() == 'p') pause();
    if (!bytes.empty() && bytes.front() == 'q') client.reset();
  }
  void on_end() override {
    CHECK(open && head);
    open = false;
  }
  void on_failed(const http::RequestFailure&) override {
    CHECK(open);
    open = false;
  }
  void pause() {
    paused = true;
    client->pause_reading();
  }

  std::optional<http::Http1Client> client;
  bool open = false;  // a request is under way
  bool head = false;
  bool paused = false;
};

void play(Input& input) {
  http::fake::FakeLane lane;
  auto stream = std::make_unique<http::fake::FakeStream>(lane);
  const auto wire = stream->wire();
  Asking asking(std::move(stream), lane);
  for (int step = 0; step < 1000 && !input.empty() && !wire->closed; ++step) {
    const std::uint8_t what = input.byte();
    switch (what & 7) {
      case 0:
        lane.advance(base::Milliseconds(input.number()));
        break;
      case 1:
        asking.ask(what >> 3);
        if (!asking.open) asking.paused = false;
        break;
      case 2:
        asking.client->write(base::SharedBytes(std::string(what, 'b')));
        break;
      case 3:
        (what & 8) != 0 ? asking.client->end_body() : wire->end();
        break;
      case 4:
        asking.paused = false;
        asking.client->resume_reading();
        break;
      default:
        if (!wire->paused) wire->feed(input.take((std::size_t{what} >> 3) * (what & 2 ? 1 : 20)));
    }
    lane.run();
    if (!asking.client) return;
  }
  lane.advance(base::Seconds(10'000));
}

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keelson::fuzz::Input input(data, size);
  keelson::fuzz::play(input);
  return 0;
}
