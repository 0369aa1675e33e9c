// URL lists as etcd's flags and requests have them: parsed, checked and normalised by Go's rules.
// operations.md 1.1.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace keelson::membership {

// What is wrong, in etcd's words: tools and tests match on them.
struct ConfigError {
  std::string text;
};

struct Url {
  std::string scheme;  // lower case
  std::string user;    // before the '@', as it was given; empty: none
  std::string host;    // with the port, as it was given; may be empty (unix:///path)
  std::string
      path;  // with the leading slash, as it was given; of "unix:name" (no slashes) the rest
  bool opaque = false;  // path is the rest of "scheme:rest"
  std::string tail;     // "?query#fragment", as it was given

  // As Go prints it.
  std::string text() const;
  // The part before and after the last colon of host; IPv6 without its brackets.
  std::string hostname() const;
  std::string port() const;
  friend bool operator==(const Url&, const Url&) = default;
};

// One URL by the rules of Go's url.Parse; the error is its text (`parse "..": ..`).
base::Result<Url, ConfigError> parse_url(std::string_view text);

using Urls = std::vector<Url>;

// A list as etcd accepts it: trimmed, http or https with host:port and no path, or unix or unixs;
// sorted by text. An empty list is an error. Duplicates stay.
base::Result<Urls, ConfigError> parse_urls(std::span<const std::string> texts);
// The same for one comma-separated text.
base::Result<Urls, ConfigError> parse_url_list(std::string_view texts);

std::vector<std::string> to_texts(const Urls& urls);
// Comma-joined.
std::string to_text(const Urls& urls);

// True if both lists name the same places one to one: scheme, path, and host, IP addresses by
// value. Sorts copies of its own. Names are not resolved here: whoever may wait for DNS resolves
// and asks again.
bool equal_urls(const Urls& a, const Urls& b);

}  // namespace keelson::membership
