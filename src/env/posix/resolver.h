// ThreadResolver: asks the system (/etc/hosts, DNS: what nsswitch.conf says), which blocks, on a
// thread for each name. Internal to env/posix; Runtime hands it out.
//
// A thread for each, because a name that nobody answers for takes the system ten seconds and more,
// and the others must not wait for it. Who asks for a name that is being asked for waits for the
// same answer. Beyond kThreadsMax names wait in turn.
//
// Nobody waits for a thread's end, at the end of the process neither: its state is its own, and it
// tells nobody once the resolver has gone.
#pragma once

#include <memory>

#include "env/resolver.h"

namespace keelson::env::posix {

class ThreadResolver final : public Resolver {
 public:
  static constexpr std::size_t kThreadsMax = 16;
  // What a thread does; another in tests.
  using Ask = base::Result<std::vector<std::string>> (*)(const std::string& host);

  explicit ThreadResolver(Ask ask = ask_system);
  ~ThreadResolver() override;  // before the lanes

  void resolve(Lane& lane, const std::string& host, Done done) override;

  // Blocks.
  static base::Result<std::vector<std::string>> ask_system(const std::string& host);

 private:
  struct State;
  static void work(const std::shared_ptr<State>& state, std::string host);

  const std::shared_ptr<State> state_;
};

}  // namespace keelson::env::posix
