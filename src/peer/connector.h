// Connector: how a connection to a peer's URL is opened. The seam for TLS: a connector for https
// URLs dials, shakes hands and answers a Stream over that Stream; nothing else here will know.
#pragma once

#include <memory>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "env/stream.h"
#include "membership/urls.h"

namespace keelson::peer {

class Connector {
 public:
  virtual ~Connector() = default;
  // Connects from `lane`, in a job of it; the answer comes as another one, with a stream of that
  // lane. `timeout` covers a handshake too.
  virtual void connect(env::Lane& lane, const membership::Url& url, base::Duration timeout,
                       base::Function<void(base::Result<std::unique_ptr<env::Stream>>)> done) = 0;
};

// http (port 80 if none is given) and unix URLs over `network`, which outlives it. An https URL is
// answered std::errc::protocol_not_supported.
std::unique_ptr<Connector> make_plain_connector(env::Network& network);

}  // namespace keelson::peer
