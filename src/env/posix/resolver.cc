#include "env/posix/resolver.h"

#include <fmt/format.h>
#include <netdb.h>

#include <cerrno>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace keelson::env::posix {
namespace {

// Of getaddrinfo, as Go tells of them: people look for these.
class LookupCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "lookup"; }
  std::string message(int code) const override {
    switch (code) {
      case EAI_NONAME:
      case EAI_NODATA:
      case EAI_ADDRFAMILY:
        return "no such host";
      case EAI_AGAIN:
        return "server misbehaving";
      default:
        return ::gai_strerror(code);
    }
  }
};

std::error_code lookup_error(int code) {
  static const LookupCategory category;
  if (code == EAI_SYSTEM) return {errno, std::generic_category()};
  return {code, category};
}

}  // namespace

struct ThreadResolver::State {
  explicit State(Ask how) : ask(how) {}

  struct Waiting {
    Lane* lane;
    Done done;
  };

  const Ask ask;
  std::mutex mutex;  // of what follows
  bool closed = false;
  std::size_t threads = 0;
  std::map<std::string, std::vector<Waiting>> waiting;  // by name
  std::deque<std::string> queue;                        // names that no thread has taken yet
};

ThreadResolver::ThreadResolver(Ask ask) : state_(std::make_shared<State>(ask)) {}

ThreadResolver::~ThreadResolver() {
  std::map<std::string, std::vector<State::Waiting>> forgotten;  // destroyed without the lock
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->queue.clear();
  forgotten.swap(state_->waiting);
}

void ThreadResolver::resolve(Lane& lane, const std::string& host, Done done) {
  const std::lock_guard lock(state_->mutex);
  auto& waiting = state_->waiting[host];
  waiting.push_back({&lane, std::move(done)});
  if (waiting.size() > 1) return;  // it is being asked for
  if (state_->threads == kThreadsMax) return state_->queue.push_back(host);
  state_->threads++;
  std::thread(&ThreadResolver::work, state_, host).detach();
}

void ThreadResolver::work(const std::shared_ptr<State>& state, std::string host) {
  for (;;) {
    const auto answer = state->ask(host);
    const std::lock_guard lock(state->mutex);
    if (state->closed) return;
    for (auto& waiting : state->waiting.extract(host).mapped()) {
      waiting.lane->post(
          [answer, done = std::move(waiting.done)]() mutable { done(std::move(answer)); });
    }
    if (state->queue.empty()) {
      state->threads--;
      return;
    }
    host = std::move(state->queue.front());
    state->queue.pop_front();
  }
}

base::Result<std::vector<std::string>> ThreadResolver::ask_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_flags = AI_ADDRCONFIG;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code != 0) {
    return base::fail(base::Error{lookup_error(code), fmt::format("lookup {}", host)});
  }
  std::vector<std::string> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0,
                      NI_NUMERICHOST) == 0) {
      addresses.emplace_back(text);
    }
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) {
    return base::fail(base::Error{lookup_error(EAI_NONAME), fmt::format("lookup {}", host)});
  }
  return addresses;
}

}  // namespace keelson::env::posix
