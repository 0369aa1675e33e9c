// HostLookup: what the hosts of URLs mean, for a start that has to compare lists of them. All are
// asked about at once, and each again a second after it failed: in a network that is just being set
// up names come late. After half a minute the start goes on with what is known. operations.md 2.3.
//
// In jobs of one lane.
#pragma once

#include <memory>
#include <string>

#include "base/function.h"
#include "base/time.h"
#include "env/lane.h"
#include "env/resolver.h"
#include "membership/resolved_urls.h"

namespace keelson::member {

class HostLookup {
 public:
  static constexpr base::Duration kPatience = base::Seconds(30);
  static constexpr base::Duration kRetryInterval = base::Seconds(1);

  // Gets an answer for the host of each of the URLs.
  using Done = base::Function<void(membership::ResolvedHosts)>;
  // `done` is called once, never from within this call; not if this is destroyed first.
  HostLookup(env::Lane& lane, env::Resolver& resolver, const membership::Urls& urls, Done done);
  ~HostLookup();
  HostLookup(const HostLookup&) = delete;
  HostLookup& operator=(const HostLookup&) = delete;

 private:
  struct Asked {
    membership::Url url;
    std::string error;  // of the last time it failed; at first, that nobody has answered
    env::TimerId retry = 0;
  };
  void ask(const std::string& host);
  void on_answer(Asked& asked, base::Result<std::vector<std::string>> answer);
  void give_up();
  void finish();

  env::Lane& lane_;
  env::Resolver& resolver_;
  base::OrderedMap<std::string, Asked> open_;  // by host; the answer is not known yet
  membership::ResolvedHosts resolved_;
  Done done_;
  env::TimerId deadline_ = 0;
  std::shared_ptr<HostLookup*> alive_ = std::make_shared<HostLookup*>(this);
};

}  // namespace keelson::member
