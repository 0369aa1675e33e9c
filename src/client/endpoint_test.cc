#include "client/endpoint.h"

#include <gtest/gtest.h>

namespace keelson::client {
namespace {

struct Case {
  std::string text, address, authority;
  Security security;
};

TEST(Endpoint, Forms) {
  const Case cases[] = {
      {"127.0.0.1:2379", "127.0.0.1:2379", "127.0.0.1:2379", Security::kEither},
      {"[::1]:2379", "[::1]:2379", "[::1]:2379", Security::kEither},
      {"http://a.example:2379", "a.example:2379", "a.example:2379", Security::kPlain},
      {"http://a:1/path?x", "a:1", "a:1", Security::kPlain},
      {"http://user@a:1", "a:1", "a:1", Security::kPlain},
      {"https://a:1", "a:1", "a:1", Security::kTls},
      {"unix:sock", "unix:sock", "sock", Security::kEither},
      {"unix://rel/sock:1", "unix:rel/sock:1", "sock:1", Security::kEither},
      {"unix:///abs/sock", "unix:/abs/sock", "sock", Security::kEither},
      {"unixs:///abs/sock", "unix:/abs/sock", "sock", Security::kTls},
      {"", "", "", Security::kEither},
  };
  for (const Case& c : cases) {
    const Endpoint endpoint = parse_endpoint(c.text);
    EXPECT_EQ(endpoint.text, c.text);
    EXPECT_EQ(endpoint.address, c.address) << c.text;
    EXPECT_EQ(endpoint.authority, c.authority) << c.text;
    EXPECT_EQ(endpoint.security, c.security) << c.text;
  }
}

}  // namespace
}  // namespace keelson::client
