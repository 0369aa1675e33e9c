#include "peer/dial.h"

#include <utility>

namespace keelson::peer {

void dial(env::Lane& lane, Connector& connector, const membership::Url& url, base::Duration timeout,
          std::weak_ptr<const void> alive, base::Function<void(Dialled)> done) {
  connector.connect(lane, url, timeout,
                    [&lane, alive = std::move(alive), done = std::move(done)](
                        base::Result<std::unique_ptr<env::Stream>> stream) mutable {
                      if (alive.expired()) return;
                      if (!stream) return done(base::fail(stream.error()));
                      done(std::make_unique<http::Http1Client>(lane, *std::move(stream)));
                    });
}

}  // namespace keelson::peer
