#include "env/posix/socket_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace keelson::env::posix {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";

std::string unix_text(const SocketAddress& address) {
  const auto& unix_address = reinterpret_cast<const sockaddr_un&>(address.storage);
  constexpr std::size_t kStart = offsetof(sockaddr_un, sun_path);
  if (address.length <= kStart || unix_address.sun_path[0] == '\0') return "@";
  const std::size_t length = ::strnlen(unix_address.sun_path, address.length - kStart);
  return std::string(kUnixPrefix) + std::string(unix_address.sun_path, length);
}

}  // namespace

std::string SocketAddress::text() const {
  if (family() == AF_UNIX) return unix_text(*this);
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (::getnameinfo(get(), length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "";
  }
  return family() == AF_INET6 ? fmt::format("[{}]:{}", host, port)
                              : fmt::format("{}:{}", host, port);
}

base::Result<HostPort> split_host_port(std::string_view address) {
  const auto refuse = [&] {
    return base::fail(
        base::make_error(std::errc::invalid_argument, fmt::format("address {}", address)));
  };
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos) return refuse();
  auto host = address.substr(0, colon);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return refuse();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return refuse();  // an IPv6 address without brackets
  }
  const auto port_text = address.substr(colon + 1);
  HostPort result{.host = std::string(host)};
  const auto [end, ec] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), result.port);
  if (host.empty() || ec != std::errc() || end != port_text.data() + port_text.size()) {
    return refuse();
  }
  return result;
}

std::optional<std::string> unix_path(std::string_view address) {
  if (!address.starts_with(kUnixPrefix)) return std::nullopt;
  return std::string(address.substr(kUnixPrefix.size()));
}

base::Result<SocketAddress> unix_address(const std::string& path) {
  SocketAddress result;
  auto& address = reinterpret_cast<sockaddr_un&>(result.storage);
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return base::fail(
        base::make_error(std::errc::filename_too_long, fmt::format("address unix:{}", path)));
  }
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return result;
}

std::optional<SocketAddress> numeric_address(const HostPort& where) {
  const std::string host = where.host == "localhost" ? "127.0.0.1" : where.host;
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(where.port).c_str(), &hints, &found) != 0) {
    return std::nullopt;
  }
  SocketAddress result;
  std::memcpy(&result.storage, found->ai_addr, found->ai_addrlen);
  result.length = found->ai_addrlen;
  ::freeaddrinfo(found);
  return result;
}

SocketAddress local_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getsockname(fd, address.get(), &address.length) != 0) address.length = 0;
  return address;
}

SocketAddress peer_address_of(int fd) {
  SocketAddress address;
  address.length = sizeof address.storage;
  if (::getpeername(fd, address.get(), &address.length) != 0) address.length = 0;
  return address;
}

}  // namespace keelson::env::posix
