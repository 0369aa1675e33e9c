#include "client/endpoint.h"

#include <algorithm>

namespace keelson::client {
namespace {

std::string_view file_name(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos || path.size() == 1 ? path : path.substr(slash + 1);
}

Endpoint unix_endpoint(std::string_view text, std::string_view rest, Security security) {
  if (rest.starts_with("//")) rest.remove_prefix(2);  // "///a" is the absolute path "/a"
  return {std::string(text), "unix:" + std::string(rest), std::string(file_name(rest)), security};
}

Endpoint url_endpoint(std::string_view text, std::string_view rest, Security security) {
  const std::string host(rest.substr(0, rest.find_first_of("/?#")));
  const std::string without_user = host.substr(host.rfind('@') + 1);  // npos + 1 == 0
  return {std::string(text), without_user, without_user, security};
}

}  // namespace

Endpoint parse_endpoint(std::string_view text) {
  const auto after = [&](std::string_view prefix) { return text.substr(prefix.size()); };
  if (text.starts_with("unix:")) return unix_endpoint(text, after("unix:"), Security::kEither);
  if (text.starts_with("unixs:")) return unix_endpoint(text, after("unixs:"), Security::kTls);
  if (text.starts_with("http://")) return url_endpoint(text, after("http://"), Security::kPlain);
  if (text.starts_with("https://")) return url_endpoint(text, after("https://"), Security::kTls);
  return {std::string(text), std::string(text), std::string(text), Security::kEither};
}

}  // namespace keelson::client
