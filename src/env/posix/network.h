// SocketNetwork: TCP and unix sockets of this machine. Internal to env/posix; Runtime hands it out.
//
// A listening socket lives on the first lane it was given and deals what it accepts to all, in
// turn. When the process is out of descriptors, or the limit of connections is reached, it stops
// accepting until there is reason to hope; clients wait in the kernel's queue meanwhile.
#pragma once

#include "env/resolver.h"
#include "env/stream.h"

namespace keelson::env::posix {

class SocketNetwork final : public Network {
 public:
  // `resolver` outlives it.
  explicit SocketNetwork(Resolver& resolver) : resolver_(resolver) {}

  base::Result<std::unique_ptr<Listener>> listen(
      const std::string& address, ListenOptions options, std::vector<Lane*> lanes,
      std::function<void(std::unique_ptr<Stream>)> on_accept) override;
  void connect(Lane& lane, const std::string& address, base::Duration timeout,
               base::Function<void(base::Result<std::unique_ptr<Stream>>)> done) override;

 private:
  Resolver& resolver_;
};

}  // namespace keelson::env::posix
