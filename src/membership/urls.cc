#include "membership/urls.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/go_text.h"

namespace keelson::membership {

namespace {

constexpr std::string_view kSpace = " \t\n\v\f\r";

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::unexpected<ConfigError> bad(std::string text) {
  return base::fail(ConfigError{std::move(text)});
}

// What may stand in a host unescaped (RFC 3986 3.2.2, and what Go adds).
bool may_be_in_host(char c) {
  return is_letter(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80 ||
         std::string_view("-_.~!$&'()*+,;=:[]<>\"%").find(c) != std::string_view::npos;
}

// Every '%' must be followed by two hex digits.
base::Result<void, ConfigError> check_escapes(std::string_view text) {
  for (std::size_t i = text.find('%'); i != std::string_view::npos; i = text.find('%', i + 1)) {
    const std::string_view escape = text.substr(i, 3);
    if (escape.size() < 3 || !is_hex(escape[1]) || !is_hex(escape[2])) {
      return bad(fmt::format("invalid URL escape {}", base::quote(escape)));
    }
  }
  return {};
}

// Empty, or a colon and digits (perhaps none).
bool is_optional_port(std::string_view text) {
  if (text.empty()) return true;
  return text.front() == ':' && std::all_of(text.begin() + 1, text.end(), is_digit);
}

base::Result<void, ConfigError> check_host(std::string_view host) {
  std::string_view port;
  if (host.starts_with('[')) {
    const std::size_t end = host.rfind(']');
    if (end == std::string_view::npos) return bad("missing ']' in host");
    port = host.substr(end + 1);
  } else if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
  }
  if (!is_optional_port(port))
    return bad(fmt::format("invalid port {} after host", base::quote(port)));
  RETURN_IF_ERROR(check_escapes(host));
  for (const char c : host) {
    if (!may_be_in_host(c))
      return bad(fmt::format("invalid character {} in host name", base::quote({&c, 1})));
  }
  return {};
}

struct HostPort {
  std::string_view host;
  std::string_view port;
};
// Go's net.SplitHostPort; nullopt for what has not the form.
std::optional<HostPort> split_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (host.size() < 2 || host.find(']') != host.size() - 1) return std::nullopt;
    host = host.substr(1, host.size() - 2);
    if (host.find('[') != std::string_view::npos) return std::nullopt;
  } else if (host.find_first_of(":[]") != std::string_view::npos) {
    return std::nullopt;
  }
  if (port.find_first_of("[]") != std::string_view::npos) return std::nullopt;
  return HostPort{host, port};
}

// A scheme and what follows its colon; no scheme if there is no colon or something else comes
// first.
struct Scheme {
  std::string scheme;
  std::string_view rest;
};
base::Result<Scheme, ConfigError> take_scheme(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (is_letter(c)) continue;
    if (c == ':') {
      if (i == 0) return bad("missing protocol scheme");
      std::string scheme(text.substr(0, i));
      for (char& letter : scheme)
        letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
      return Scheme{std::move(scheme), text.substr(i + 1)};
    }
    if (i == 0 || !(is_digit(c) || c == '+' || c == '-' || c == '.')) break;
  }
  return Scheme{"", text};
}

base::Result<void, ConfigError> take_authority(std::string_view authority, Url& url) {
  const std::size_t at = authority.rfind('@');
  if (at != std::string_view::npos) {
    const std::string_view user = authority.substr(0, at);
    const auto fine = [](char c) {
      return is_letter(c) || is_digit(c) ||
             std::string_view("-._:~!$&'()*+,;=%@").find(c) != std::string_view::npos;
    };
    if (!std::all_of(user.begin(), user.end(), fine)) return bad("net/url: invalid userinfo");
    url.user = user;
    authority.remove_prefix(at + 1);
  }
  RETURN_IF_ERROR(check_host(authority));
  url.host = authority;
  return {};
}

// The path as Go prints it again: what cannot stand in one is escaped.
std::string escape_path(std::string_view path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    const bool fine = byte > 0x20 && byte < 0x7F &&
                      std::string_view("\"<>\\^`{|}").find(c) == std::string_view::npos;
    if (fine) {
      out.push_back(c);
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

base::Result<Url, ConfigError> parse_parts(std::string_view text) {
  Url url;
  const std::size_t tail = std::min(text.find_first_of("?#"), text.size());
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(text.begin(), text.end(), is_control)) {
    return bad("net/url: invalid control character in URL");
  }
  ASSIGN_OR_RETURN(const Scheme scheme, take_scheme(text.substr(0, tail)));
  url.scheme = scheme.scheme;
  url.tail = text.substr(tail);
  std::string_view rest = scheme.rest;
  if (!rest.starts_with("//")) {
    if (url.scheme.empty() && !rest.starts_with('/')) {
      const std::string_view segment = rest.substr(0, std::min(rest.find('/'), rest.size()));
      if (segment.find(':') != std::string_view::npos) {
        return bad("first path segment in URL cannot contain colon");
      }
    }
    RETURN_IF_ERROR(check_escapes(rest));
    url.opaque = !url.scheme.empty();
    url.path = escape_path(rest);
    return url;
  }
  rest.remove_prefix(2);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  RETURN_IF_ERROR(take_authority(rest.substr(0, slash), url));
  RETURN_IF_ERROR(check_escapes(rest.substr(slash)));
  url.path = escape_path(rest.substr(slash));
  return url;
}

// A host that is an IP address in one form per address, anything else as it is.
std::string normalized_host(const Url& url) {
  const auto parts = split_host_port(url.host);
  if (!parts) return url.host;
  std::array<unsigned char, sizeof(in6_addr)> address{};
  std::array<char, INET6_ADDRSTRLEN> text{};
  const std::string host(parts->host);
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, host.c_str(), address.data()) != 1) continue;
    inet_ntop(family, address.data(), text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), parts->port);
  }
  return url.host;
}

}  // namespace

std::string Url::text() const {
  std::string out = scheme.empty() ? "" : scheme + ":";
  if (opaque) return out + path + tail;
  if (!host.empty() || !user.empty() || (!scheme.empty() && !path.empty())) out += "//";
  if (!user.empty()) out += user + "@";
  return out + host + path + tail;
}

std::string Url::hostname() const {
  const auto parts = split_host_port(host);
  return parts ? std::string(parts->host) : host;
}

std::string Url::port() const {
  const auto parts = split_host_port(host);
  return parts ? std::string(parts->port) : "";
}

base::Result<Url, ConfigError> parse_url(std::string_view text) {
  auto url = parse_parts(text);
  if (!url) {
    const std::string_view shown = text.substr(0, std::min(text.find('#'), text.size()));
    return bad(fmt::format("parse {}: {}", base::quote(shown), url.error().text));
  }
  return url;
}

base::Result<Urls, ConfigError> parse_urls(std::span<const std::string> texts) {
  if (texts.empty()) return bad("no valid URLs given");
  Urls urls;
  for (const std::string& given : texts) {
    const std::string_view text = trim(given);
    ASSIGN_OR_RETURN(Url url, parse_url(text));
    if (url.scheme == "http" || url.scheme == "https") {
      if (!split_host_port(url.host)) {
        return bad(fmt::format("URL address does not have the form \"host:port\": {}", text));
      }
      if (!url.path.empty()) return bad(fmt::format("URL must not contain a path: {}", text));
    } else if (url.scheme != "unix" && url.scheme != "unixs") {
      return bad(fmt::format("URL scheme must be http, https, unix, or unixs: {}", text));
    }
    urls.push_back(std::move(url));
  }
  std::sort(urls.begin(), urls.end(),
            [](const Url& a, const Url& b) { return a.text() < b.text(); });
  return urls;
}

base::Result<Urls, ConfigError> parse_url_list(std::string_view texts) {
  std::vector<std::string> list;
  for (;;) {
    const std::size_t comma = texts.find(',');
    list.emplace_back(texts.substr(0, comma));
    if (comma == std::string_view::npos) break;
    texts.remove_prefix(comma + 1);
  }
  return parse_urls(list);
}

std::vector<std::string> to_texts(const Urls& urls) {
  std::vector<std::string> texts;
  texts.reserve(urls.size());
  for (const Url& url : urls) texts.push_back(url.text());
  return texts;
}

std::string to_text(const Urls& urls) { return fmt::format("{}", fmt::join(to_texts(urls), ",")); }

bool equal_urls(const Urls& a, const Urls& b) {
  if (a.size() != b.size()) return false;
  const auto sorted = [](Urls urls) {
    std::sort(urls.begin(), urls.end(),
              [](const Url& x, const Url& y) { return x.text() < y.text(); });
    return urls;
  };
  const Urls left = sorted(a), right = sorted(b);
  return std::equal(left.begin(), left.end(), right.begin(), [](const Url& x, const Url& y) {
    return x.scheme == y.scheme && x.path == y.path && normalized_host(x) == normalized_host(y);
  });
}

}  // namespace keelson::membership
