#include "member/host_lookup.h"

#include <fmt/format.h>

#include <utility>

#include "env/log.h"

namespace keelson::member {
namespace {

std::string with_port(const std::string& ip, const std::string& port) {
  return ip.find(':') == std::string::npos ? fmt::format("{}:{}", ip, port)
                                           : fmt::format("[{}]:{}", ip, port);
}

}  // namespace

HostLookup::HostLookup(env::Lane& lane, env::Resolver& resolver, const membership::Urls& urls,
                       Done done)
    : lane_(lane), resolver_(resolver), done_(std::move(done)) {
  for (const auto& url : urls) {
    open_.try_emplace(
        url.host,
        Asked{.url = url, .error = fmt::format("lookup {}: i/o timeout", url.hostname())});
  }
  // None is open: at once.
  deadline_ = lane_.after(open_.empty() ? base::Duration(0) : kPatience, [this] {
    deadline_ = 0;
    give_up();
  });
  for (const auto& [host, asked] : open_) ask(host);
}

HostLookup::~HostLookup() {
  if (deadline_ != 0) lane_.cancel(deadline_);
  for (const auto& [host, asked] : open_) {
    if (asked.retry != 0) lane_.cancel(asked.retry);
  }
}

void HostLookup::ask(const std::string& host) {
  const auto asked = open_.find(host);
  asked->second.retry = 0;
  resolver_.resolve(lane_, asked->second.url.hostname(),
                    [host, alive = std::weak_ptr(alive_)](auto answer) {
                      const auto self = alive.lock();
                      if (!self) return;
                      const auto open = (*self)->open_.find(host);
                      if (open == (*self)->open_.end()) return;
                      (*self)->on_answer(open->second, std::move(answer));
                    });
}

void HostLookup::on_answer(Asked& asked, base::Result<std::vector<std::string>> answer) {
  const std::string host = asked.url.host;
  if (!answer) {
    asked.error = answer.error().message();
    env::log_warn("failed to resolve URL Host", {{"url", asked.url.text()},
                                                 {"host", host},
                                                 {"retry-interval", "1s"},
                                                 {"error", asked.error}});
    asked.retry = lane_.after(kRetryInterval, [this, host] { ask(host); });
    return;
  }
  const std::string address = with_port(answer->front(), asked.url.port());
  env::log_info("resolved URL Host",
                {{"url", asked.url.text()}, {"host", host}, {"resolved-addr", address}});
  resolved_.emplace(host, address);
  open_.erase(host);
  if (open_.empty()) finish();
}

void HostLookup::give_up() {
  for (const auto& [host, asked] : open_) {
    env::log_warn("failed to resolve URL Host; returning", {{"url", asked.url.text()},
                                                            {"host", host},
                                                            {"retry-interval", "1s"},
                                                            {"error", asked.error}});
    if (asked.retry != 0) lane_.cancel(asked.retry);
    resolved_.emplace(host, base::fail(asked.error));
  }
  open_.clear();
  finish();
}

void HostLookup::finish() {
  if (deadline_ != 0) lane_.cancel(std::exchange(deadline_, 0));
  std::exchange(done_, {})(std::move(resolved_));  // may destroy this
}

}  // namespace keelson::member
