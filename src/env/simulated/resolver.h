// SimulatedResolver: names with the addresses that a test gives them. What nobody has named is "no
// such host". An answer takes a millisecond of the lane's time.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "env/resolver.h"

namespace keelson::env::simulated {

class SimulatedResolver final : public Resolver {
 public:
  // From now on; none: no such host.
  void set(const std::string& host, std::vector<std::string> addresses) {
    addresses_[host] = std::move(addresses);
  }
  // How often it was asked for `host`.
  int asked(const std::string& host) const {
    const auto it = asked_.find(host);
    return it == asked_.end() ? 0 : it->second;
  }

  // In a job of `lane`.
  void resolve(Lane& lane, const std::string& host, Done done) override {
    asked_[host]++;
    lane.after(base::Milliseconds(1), [this, host, done = std::move(done)]() mutable {
      const auto it = addresses_.find(host);
      if (it == addresses_.end() || it->second.empty()) {
        return done(
            base::fail(base::make_error(std::errc::no_such_device_or_address, "lookup " + host)));
      }
      done(it->second);
    });
  }

 private:
  std::map<std::string, std::vector<std::string>> addresses_;
  std::map<std::string, int> asked_;
};

}  // namespace keelson::env::simulated
