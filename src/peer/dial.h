// dial: a connection to a member's peer port, as a client that asks over it.
#pragma once

#include <memory>

#include "http/http1_client.h"
#include "peer/connector.h"

namespace keelson::peer {

using Dialled = base::Result<std::unique_ptr<http::Http1Client>>;

// In a job of `lane`, where `done` is called too, never from within this call, and not once `alive`
// (of whoever waits) has gone. `timeout` covers all that the connector does.
void dial(env::Lane& lane, Connector& connector, const membership::Url& url, base::Duration timeout,
          std::weak_ptr<const void> alive, base::Function<void(Dialled)> done);

}  // namespace keelson::peer
