#include "membership/urls.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace keelson::membership {
namespace {

std::string parsed(std::string_view list) {
  const auto urls = parse_url_list(list);
  return urls ? to_text(*urls) : "error: " + urls.error().text;
}

TEST(Urls, ListsAsEtcdTakesThem) {
  struct Row {
    const char* why;
    const char* in;
    const char* out;
  };
  for (const Row& row : {
           Row{"one", "http://localhost:2380", "http://localhost:2380"},
           Row{"sorted by text, spaces off", " http://b:1 ,\thttp://a:2", "http://a:2,http://b:1"},
           Row{"duplicates stay", "http://a:1,http://a:1", "http://a:1,http://a:1"},
           Row{"the scheme in lower case, the host as given", "HTTPS://Host:1", "https://Host:1"},
           Row{"IPv6", "http://[::1]:2380", "http://[::1]:2380"},
           Row{"a port may be empty", "http://a:", "http://a:"},
           Row{"so may a host", "http://:2380", "http://:2380"},
           Row{"user and query are taken as they are", "http://u:p@a:1?x=1", "http://u:p@a:1?x=1"},
           Row{"unix with an absolute path", "unix:///tmp/s", "unix:///tmp/s"},
           Row{"unix with a name and a port", "unix://m1:1", "unix://m1:1"},
           Row{"unix without slashes", "unix:name.sock", "unix:name.sock"},
           Row{"unix with one slash", "unix:/tmp/s", "unix:/tmp/s"},
           Row{"unixs", "unixs:///tmp/s", "unixs:///tmp/s"},
           Row{"no port", "http://localhost",
               R"(error: URL address does not have the form "host:port": http://localhost)"},
           Row{"IPv6 without brackets", "http://::1:2380",
               R"(error: URL address does not have the form "host:port": http://::1:2380)"},
           Row{"IPv6 without a port", "http://[::1]",
               R"(error: URL address does not have the form "host:port": http://[::1])"},
           Row{"a path", "http://a:1/x", "error: URL must not contain a path: http://a:1/x"},
           Row{"even a short one", "http://a:1/",
               "error: URL must not contain a path: http://a:1/"},
           Row{"another scheme", "ftp://a:1",
               "error: URL scheme must be http, https, unix, or unixs: ftp://a:1"},
           Row{"no scheme", "//a:1",
               "error: URL scheme must be http, https, unix, or unixs: //a:1"},
           Row{"a host taken for a scheme", "localhost:2380",
               "error: URL scheme must be http, https, unix, or unixs: localhost:2380"},
           Row{"an address that cannot be one", "127.0.0.1:2380",
               R"(error: parse "127.0.0.1:2380": first path segment in URL cannot contain colon)"},
           Row{"nothing", "", "error: URL scheme must be http, https, unix, or unixs: "},
           Row{"nothing after the comma", "http://a:1,",
               "error: URL scheme must be http, https, unix, or unixs: "},
           Row{"no scheme before the colon", "://a:1",
               R"(error: parse "://a:1": missing protocol scheme)"},
           Row{"letters for a port", "http://a:b",
               R"(error: parse "http://a:b": invalid port ":b" after host)"},
           Row{"something behind the bracket", "http://[::1]x:1",
               R"(error: parse "http://[::1]x:1": invalid port "x:1" after host)"},
           Row{"no closing bracket", "http://[::1:1",
               R"(error: parse "http://[::1:1": missing ']' in host)"},
           Row{"a space in the host", "http://a b:1",
               R"(error: parse "http://a b:1": invalid character " " in host name)"},
           Row{"a bad escape", "http://a%zz:1",
               R"(error: parse "http://a%zz:1": invalid URL escape "%zz")"},
           Row{"a control character", "http://a\x01:1",
               "error: parse \"http://a\\x01:1\": net/url: invalid control character in URL"},
           Row{"odd user", "http://a|b@c:1",
               R"(error: parse "http://a|b@c:1": net/url: invalid userinfo)"},
       }) {
    EXPECT_EQ(parsed(row.in), row.out) << row.why;
  }
  EXPECT_EQ(parse_urls({}).error().text, "no valid URLs given");
}

TEST(Urls, Parts) {
  const auto url = parse_url("https://[::1]:2379").value();
  EXPECT_EQ(url.hostname(), "::1");
  EXPECT_EQ(url.port(), "2379");
  EXPECT_EQ(parse_url("http://a:1")->hostname(), "a");
  EXPECT_EQ(parse_url("unix:///tmp/s")->path, "/tmp/s");
  EXPECT_EQ(parse_url("unix:///tmp/s")->hostname(), "");
  EXPECT_EQ(parse_url("unix:///a b")->text(), "unix:///a%20b");
}

TEST(Urls, Equal) {
  struct Row {
    const char* a;
    const char* b;
    bool equal;
  };
  for (const Row& row : {
           Row{"http://a:1", "http://a:1", true},
           Row{"http://a:1,http://b:1", "http://b:1,http://a:1", true},
           Row{"http://a:1", "http://a:1,http://b:1", false},
           Row{"http://a:1", "https://a:1", false},
           Row{"http://a:1", "http://a:2", false},
           Row{"http://[::1]:1", "http://[0:0:0:0:0:0:0:1]:1", true},
           Row{"http://[::1]:1", "http://[::2]:1", false},
           Row{"unix:///a", "unix:///b", false},
           Row{"http://127.0.0.1:1", "http://localhost:1", false},
       }) {
    EXPECT_EQ(equal_urls(*parse_url_list(row.a), *parse_url_list(row.b)), row.equal)
        << row.a << " " << row.b;
  }
}

// What is accepted is printed so that it is accepted again, as the same.
TEST(Urls, PrintAndParse) {
  base::Random random(3);
  const std::string_view alphabet = "ahtp:/[]@?#%.1 xunix";
  int accepted = 0;
  for (int i = 0; i < 200'000; i++) {
    std::string text = random.one_in(2) ? "http://" : random.one_in(2) ? "unix:" : "";
    for (std::uint64_t n = random.below(9); n > 0; n--)
      text += alphabet[random.below(alphabet.size())];
    const auto url = parse_url(text);
    if (!url) continue;
    accepted++;
    const auto again = parse_url(url->text());
    ASSERT_TRUE(again.ok()) << text << " -> " << url->text();
    ASSERT_EQ(again->text(), url->text()) << text;
  }
  EXPECT_GT(accepted, 10'000);
}

}  // namespace
}  // namespace keelson::membership
