// Resolver: what the name of a host means now. Asked anew each time: a host may come back with
// another address.
#pragma once

#include <string>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "env/lane.h"

namespace keelson::env {

class Resolver {
 public:
  // At least one address, the one to be preferred first; IPs without brackets or port. The error's
  // code says in Go's words why there is none ("no such host"), its context "lookup <host>".
  using Done = base::Function<void(base::Result<std::vector<std::string>>)>;

  virtual ~Resolver() = default;
  // From any lane; `done` is a job of `lane`. It comes when the system knows, which may take long,
  // or never if the resolver ends first: whoever has less time sets a timer.
  virtual void resolve(Lane& lane, const std::string& host, Done done) = 0;
};

}  // namespace keelson::env
