// HTTP/1.1 as a handler sees it: requests, answers, and whoever answers them.
//
// The connection parses, keeps order (one request at a time is handed out; what a client pipelines
// behind it waits, bounded), keeps alive, answers what is malformed as Go's net/http does (400,
// "400 Bad Request"), handles Expect and HEAD, and applies an AccessPolicy before anything is
// handed out. A handler may answer at once or later, whole or in chunks.
//
// Life of a request
//
//   route(head) -> handler --on_request--(on_body*--on_body_end)?--> respond() or start()..end() ->
//   destroyed
//                     \-----on_cancelled (connection lost, server stopping)-------------------->
//                     destroyed
//
// Invariants   H1  Exchange outlives its handler; after the answer ended or on_cancelled() the
// handler
//                  hears nothing more and is destroyed before its lane's turn ends, never inside a
//                  call it made itself
//              H2  nothing of a request is buffered beyond Http1Limits and Route::body_bytes_max
//
// All of it belongs to one io lane.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "http/grpc.h"

namespace keelson::http {

// Header fields in their order; names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  void add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
  }
  // Replaces every field of that name.
  void set(std::string_view name, std::string value);
  // The first value; nullopt if there is none.
  std::optional<std::string_view> find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name).has_value(); }
  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string method;
  std::string target;  // as it came: "/health?serializable=true"
  std::string path;    // percent-decoded: "/health"
  std::string query;   // raw, without '?'
  std::string host;    // of the Host field, or of an absolute target
  Headers headers;
  std::string body;  // whole, for BodyMode::kWhole
};

// The parameters of a query or form, decoded, in order; what cannot be decoded is left out, as Go
// does.
std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query);
// Percent-decoding of a path; nullopt if an escape is broken.
std::optional<std::string> percent_decode(std::string_view text);

struct Response {
  int status = 200;
  Headers headers;   // Content-Length, Date and Connection are added
  std::string body;  // not sent for HEAD, 204, 304
};

// "text/plain; charset=utf-8", X-Content-Type-Options, the text and a newline: the form of Go's
// http.Error, which etcd's plain answers have.
Response text_response(int status, std::string_view text);
// 404 "404 page not found\n".
Response not_found_response();
// 405 with `Allow`.
Response method_not_allowed_response(std::string_view allow);

// One request being answered.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;
  virtual const Peer& peer() const = 0;

  // The whole answer at once.
  virtual void respond(Response response) = 0;

  // Or: the head, any number of pieces, the end. Chunked, or to the end of the connection for
  // HTTP/1.0; with a Content-Length among the headers that many bytes must follow, CHECKed at
  // end().
  virtual void start(int status, Headers headers) = 0;
  virtual void write(std::string bytes) = 0;
  virtual void write(base::SharedBytes bytes) = 0;
  virtual void end() = 0;
  // Gives the answer up midway: the connection is closed so that the client sees a broken answer.
  virtual void abort() = 0;
  // Bytes written and not yet taken by the socket; see RequestHandler::on_drained.
  virtual std::size_t unsent_bytes() const = 0;

  // 101 with these headers; from then on the connection is raw: its bytes come as on_body, write()
  // sends as it is, end() closes. For upgrades a handler knows (WebSocket).
  virtual void upgrade(Headers headers) = 0;

  // For BodyMode::kStreamed: no on_body until resume.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
};

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // The request is here: with its body (kWhole), or its head alone (kStreamed).
  virtual void on_request(Exchange& exchange) = 0;
  // kStreamed, or upgraded: the next bytes, for the call only; and their end.
  virtual void on_body(std::string_view bytes) { static_cast<void>(bytes); }
  virtual void on_body_end() {}
  virtual void on_cancelled() {}
  // unsent_bytes() has fallen to zero after it was not.
  virtual void on_drained() {}
};

enum class BodyMode { kWhole, kStreamed };

struct Route {
  std::unique_ptr<RequestHandler> handler;  // nullptr: 404
  BodyMode body = BodyMode::kWhole;
  // kWhole: a longer body is answered 413. kStreamed: no limit here, the handler counts.
  std::size_t body_bytes_max = 4 << 20;
};

// Who serves a port's HTTP/1.1. Asked once per request, when its head is complete.
class RequestRouter {
 public:
  virtual ~RequestRouter() = default;
  virtual Route route(const Request& head) = 0;
};

// A handler that answers from a function of the request, for what needs no state.
std::unique_ptr<RequestHandler> make_simple_handler(
    base::Function<Response(const Request& request)> answer);

// Who may ask (api.md 8.5, operations.md 3.1): applied to every request before route().
struct AccessPolicy {
  // False: nobody is refused and no field is added, as on peers' and metrics' ports.
  bool applies = true;
  // Origins; empty or "*" = all. Answers that are allowed carry the CORS fields; any OPTIONS is
  // 200.
  std::vector<std::string> cors_origins;
  // Host names; empty or "*" = all. Any other name gets 421 on a connection without TLS.
  std::vector<std::string> host_whitelist;
};

struct Http1Limits {
  std::size_t head_bytes_max = 1 << 20;        // request line and fields; beyond: 431
  std::size_t pipelined_bytes_max = 64 << 10;  // of requests behind the one being answered
  base::Duration head_timeout =
      base::Seconds(300);  // from its first byte, or from the connection's
  // Whether that time begins anew with all that comes: then a head may take long, but not stall.
  bool each_read = false;
  // Between two requests of a connection; zero: for ever.
  base::Duration idle_timeout = base::Duration::zero();
};

}  // namespace keelson::http
