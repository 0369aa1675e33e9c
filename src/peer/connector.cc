#include "peer/connector.h"

#include <utility>

namespace keelson::peer {
namespace {

class PlainConnector final : public Connector {
 public:
  explicit PlainConnector(env::Network& network) : network_(network) {}

  void connect(env::Lane& lane, const membership::Url& url, base::Duration timeout,
               base::Function<void(base::Result<std::unique_ptr<env::Stream>>)> done) override {
    if (url.scheme == "unix") {
      // Of a peer's unix URL only the host part names the file, as where it listens.
      return network_.connect(lane, "unix:" + (url.host.empty() ? url.path : url.host), timeout,
                              std::move(done));
    }
    if (url.scheme != "http") {
      return lane.post([text = url.text(), done = std::move(done)]() mutable {
        done(base::fail(base::make_error(std::errc::protocol_not_supported, "dial " + text)));
      });
    }
    network_.connect(lane, url.port().empty() ? url.host + ":80" : url.host, timeout,
                     std::move(done));
  }

 private:
  env::Network& network_;
};

}  // namespace

std::unique_ptr<Connector> make_plain_connector(env::Network& network) {
  return std::make_unique<PlainConnector>(network);
}

}  // namespace keelson::peer
