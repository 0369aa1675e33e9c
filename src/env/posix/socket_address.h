// Addresses of sockets and their text: "127.0.0.1:2379", "[::1]:2379", "name:2379", "unix:/path".
// Internal to env/posix.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace keelson::env::posix {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  // As above; "@" for a unix socket without a name, as Go writes it.
  std::string text() const;
};

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
};
base::Result<HostPort> split_host_port(std::string_view address);

// The path of "unix:/path"; nullopt if it is no such address.
std::optional<std::string> unix_path(std::string_view address);
base::Result<SocketAddress> unix_address(const std::string& path);
// An IP or "localhost", without asking anybody; nullopt for any other name.
std::optional<SocketAddress> numeric_address(const HostPort& where);

// What this end, or the other, of a socket is called.
SocketAddress local_address_of(int fd);
SocketAddress peer_address_of(int fd);

}  // namespace keelson::env::posix
