#include "http/http1.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace keelson::http {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::optional<std::string> unescape(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' && plus_is_space ? ' ' : text[i];
    }
  }
  return out;
}

class SimpleHandler final : public RequestHandler {
 public:
  explicit SimpleHandler(base::Function<Response(const Request&)> answer)
      : answer_(std::move(answer)) {}
  void on_request(Exchange& exchange) override { exchange.respond(answer_(exchange.request())); }

 private:
  base::Function<Response(const Request&)> answer_;
};

}  // namespace

void Headers::set(std::string_view name, std::string value) {
  std::erase_if(fields_, [&](const auto& field) { return same_name(field.first, name); });
  add(std::string(name), std::move(value));
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (same_name(key, name)) return value;
  }
  return std::nullopt;
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> result;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (part.empty() || part.contains(';')) continue;
    const auto equals = std::min(part.find('='), part.size());
    auto key = unescape(part.substr(0, equals), true);
    auto value = unescape(equals < part.size() ? part.substr(equals + 1) : "", true);
    if (key && value) result.emplace_back(*std::move(key), *std::move(value));
  }
  return result;
}

std::optional<std::string> percent_decode(std::string_view text) { return unescape(text, false); }

Response text_response(int status, std::string_view text) {
  return {.status = status,
          .headers = {{"Content-Type", "text/plain; charset=utf-8"},
                      {"X-Content-Type-Options", "nosniff"}},
          .body = fmt::format("{}\n", text)};
}

Response not_found_response() { return text_response(404, "404 page not found"); }

Response method_not_allowed_response(std::string_view allow) {
  Response response = text_response(405, "Method Not Allowed");
  response.headers.add("Allow", std::string(allow));
  return response;
}

std::unique_ptr<RequestHandler> make_simple_handler(
    base::Function<Response(const Request& request)> answer) {
  return std::make_unique<SimpleHandler>(std::move(answer));
}

}  // namespace keelson::http
