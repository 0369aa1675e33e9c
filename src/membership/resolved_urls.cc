#include "membership/resolved_urls.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/go_text.h"

namespace keelson::membership {
namespace {

bool is_ip(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address.data()) == 1;
}

bool needs_dns(const Url& url) {
  const std::string host = url.hostname();
  return !url.scheme.starts_with("unix") && host != "localhost" && !is_ip(host);
}

Urls sorted(Urls urls) {
  std::sort(urls.begin(), urls.end(),
            [](const Url& a, const Url& b) { return a.text() < b.text(); });
  return urls;
}

std::string cannot(const Url& url, std::string_view why) {
  return fmt::format("failed to resolve {} ({})", base::quote(url.text()), why);
}

base::Result<Urls, std::string> resolve(const Urls& urls, const ResolvedHosts& resolved) {
  Urls result = sorted(urls);
  for (Url& url : result) {
    if (!needs_dns(url)) continue;
    const auto found = resolved.find(url.host);
    if (found == resolved.end()) return base::fail(cannot(url, "DNS was not asked"));
    if (!found->second) return base::fail(cannot(url, found->second.error()));
    url.host = *found->second;
  }
  return sorted(std::move(result));
}

}  // namespace

Urls urls_to_resolve(const Urls& a, const Urls& b) {
  Urls urls;
  if (a.size() != b.size() || equal_urls(a, b)) return urls;
  for (const Urls* list : {&a, &b}) {
    std::copy_if(list->begin(), list->end(), std::back_inserter(urls), needs_dns);
  }
  return urls;
}

std::optional<std::string> why_unequal(const Urls& a, const Urls& b,
                                       const ResolvedHosts& resolved) {
  if (equal_urls(a, b)) return std::nullopt;
  if (a.size() != b.size()) {
    return fmt::format("len({}) != len({})", base::quote(to_texts(a)), base::quote(to_texts(b)));
  }
  const auto left = resolve(a, resolved), right = resolve(b, resolved);
  if (!left) return left.error();
  if (!right) return right.error();
  for (std::size_t i = 0; i < a.size(); i++) {
    if (equal_urls({(*left)[i]}, {(*right)[i]})) continue;
    return fmt::format("resolved urls: {} != {}", base::quote((*left)[i].text()),
                       base::quote((*right)[i].text()));
  }
  return std::nullopt;
}

}  // namespace keelson::membership
