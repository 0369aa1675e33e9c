// gRPC as a service sees it: calls, their handlers and the table of methods. Wire: grpc.md, and the
// document PROTOCOL-HTTP2 of the gRPC project.
//
// A service registers methods in a Router. For each call the connection asks the method's factory
// for a CallHandler and tells it what the client sends; the handler answers through its Call.
// Framing, compression, deadlines, flow control and the refusals of grpc.md 3 are made here; a
// service sees whole decompressed messages and sends whole encoded ones.
//
// Life of a call
//
//   factory(call) -> handler --on_message*--on_half_close?--> call.finish(status) -> handler
//   destroyed
//                        \---on_cancelled(reason)----------------------------------> handler
//                        destroyed
//
// Invariants   G1  Call outlives its handler; after finish() or on_cancelled() the handler hears
// nothing
//                  more and is destroyed before its lane's turn ends, never inside a call it made
//                  itself
//              G2  whatever a call held (bytes, sources, timers) is freed with it, but for what was
//                  sent before finish(), which goes on flowing
//              G3  after finish() or on_cancelled() every method of Call that sends does nothing
//
// All of it belongs to one io lane. A handler that waits for another lane leaves a note of itself
// with an owner on its own lane (an id, say), and its destructor takes the note away.
//
// Call is an interface: the HTTP/2 server implements it, so may a gateway or a test.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/containers.h"
#include "base/counter.h"
#include "base/time.h"

namespace keelson::http {

enum class StatusCode : std::uint8_t {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};
inline constexpr std::size_t kStatusCodeCount = 17;

// The name gRPC libraries and their metrics use: "OK", "InvalidArgument", "DeadlineExceeded".
std::string_view status_code_name(StatusCode code);

struct Status {
  StatusCode code = StatusCode::kOk;
  std::string message;

  bool ok() const { return code == StatusCode::kOk; }
  friend bool operator==(const Status&, const Status&) = default;
};

// Above this no message can be sent: its length would not fit what clients accept (grpc.md, DESIGN
// 3).
inline constexpr std::uint64_t kSendMessageBytesMax = 2'147'483'647;

// Who is at the other end of a connection.
struct Peer {
  std::string address;  // "127.0.0.1:51234"
  bool tls = false;
  std::string common_name;  // of a verified client certificate, else empty
};

// The body of one long message, made while it is sent.
class BodySource {
 public:
  virtual ~BodySource() = default;

  // More will come: nothing is asked for until Call::resume().
  struct Wait {};
  // The rest cannot be had. The stream ends with this status; what was announced is not padded.
  struct Failed {
    Status status;
  };
  // How many bytes were written into `out`, at least one.
  using Pulled = std::variant<std::size_t, Wait, Failed>;

  // Writes the next bytes, at most out.size() of them (never 0). Asked only while bytes of the
  // announced length are missing and both flow-control windows and the socket have room. Must not
  // call into Call.
  virtual Pulled pull(std::span<char> out) = 0;
};

// One message that came, decompressed.
class Message {
 public:
  explicit Message(std::string_view view) : view_(view) {}
  // `owned` holds exactly the message and may be taken.
  explicit Message(std::string* owned) : view_(*owned), owned_(owned) {}

  // Valid for the call of on_message only.
  std::string_view view() const { return view_; }
  // The bytes to keep: moved if they were gathered from several frames, else copied. Once.
  std::string take() && { return owned_ != nullptr ? std::move(*owned_) : std::string(view_); }

 private:
  std::string_view view_;
  std::string* owned_ = nullptr;
};

// One call, from the server's end.
class Call {
 public:
  virtual ~Call() = default;

  // What was asked
  // ------------------------------------------------------------------------------------

  virtual std::string_view path() const = 0;  // "/etcdserverpb.KV/Range"
  // The first value of a request header, by its lower-case name; `-bin` values are decoded. Headers
  // of the protocol itself (":path", "te", "grpc-timeout", ...) are not among them, "content-type",
  // "user-agent" and ":authority" are.
  virtual std::optional<std::string_view> metadata(std::string_view name) const = 0;
  // When the client stops waiting; the connection ends the call then.
  virtual std::optional<base::TimePoint> deadline() const = 0;
  virtual const Peer& peer() const = 0;
  // Answers are compressed, so a streamed body is not possible: see send_streamed.
  virtual bool gzip() const = 0;

  // Answering
  // ----------------------------------------------------------------------------------------- All
  // of these queue; the connection writes at the end of the lane's turn. None calls the handler.

  // One whole encoded message. Above kSendMessageBytesMax the call ends with kResourceExhausted,
  // "trying to send message larger than max (N vs. 2147483647)".
  virtual void send(std::string message) = 0;
  // One message in parts: `head`, then each of `parts`. Small ones are copied, large ones
  // referenced until sent, so bytes made once can go to many calls.
  virtual void send(std::string_view head, std::span<const base::SharedBytes> parts) = 0;
  // One message of exactly `length` bytes, asked from `source` as the windows open; bounded memory
  // for any length. What is sent after it waits for it. Not for a call with gzip(): CHECKed. A
  // length above kSendMessageBytesMax is refused as in send(), before the first byte.
  virtual void send_streamed(std::uint64_t length, std::unique_ptr<BodySource> source) = 0;
  // The source that said Wait has more, or has failed; ask it again.
  virtual void resume() = 0;
  // Bytes queued and not yet given to the socket, but for those a source still has. A handler that
  // makes many messages stops at a mark of its own and goes on in on_drained().
  virtual std::size_t unsent_bytes() const = 0;
  // Ends the call: what was sent before flows first. Once; a second time does nothing.
  virtual void finish(Status status) = 0;
  // Ends the call at once, also one that has finished and still flows: what was queued is dropped
  // and the stream reset, which the client sees as kResourceExhausted. For an answer that holds
  // what can be kept no longer while its client does not read.
  virtual void abandon() = 0;

  // Pushing back
  // --------------------------------------------------------------------------------------

  // No on_message until resume_reading(). The client may send at most one window more
  // (ServerOptions).
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
};

enum class CancelReason {
  kReset,           // the client gave the call up
  kConnectionLost,  // or its connection broke
  kDeadline,        // the client's deadline has passed; the client is told
  kServerStopping,  // the server's own patience ended, see Server::stop
  kFailed,          // the call was ended with an error: a message that could not be read, a body
                    // source that failed, a limit
};

// The status a cancelled call counts as: kCancelled, kDeadlineExceeded, kUnavailable, kInternal.
StatusCode status_code(CancelReason reason);

// What a service does with one call. Any of these may finish the call.
class CallHandler {
 public:
  virtual ~CallHandler() = default;
  // A message came. A unary or server-streaming method hears exactly one; a call whose client sent
  // none ends with kInternal without asking the service.
  virtual void on_message(Message message) = 0;
  // The client will send no more. It still listens.
  virtual void on_half_close() {}
  // Nobody listens any more.
  virtual void on_cancelled(CancelReason reason) { static_cast<void>(reason); }
  // unsent_bytes() has fallen to zero after it was not.
  virtual void on_drained() {}
};

enum class MethodKind {
  kUnary,         // one message, one answer; errors of decoding speak as for unary calls
  kServerStream,  // one message, many answers
  kBidiStream,    // many, many
};

// Makes the handler of one call. May finish the call itself and return nullptr.
using HandlerFactory = std::function<std::unique_ptr<CallHandler>(Call&)>;

// What one lane counted of one method's calls: those that got a handler. Written by the lane, read
// by any thread.
struct MethodStats {
  base::Counter started;
  base::Counter received;  // messages
  base::Counter sent;
  base::Counter received_bytes;  // of messages, as the service sees them
  base::Counter sent_bytes;
  std::array<base::Counter, kStatusCodeCount> handled;  // by the code the call ended with
};

struct Method {
  std::string path;  // "/package.Service/Name"
  MethodKind kind = MethodKind::kUnary;
  HandlerFactory make;
  std::shared_ptr<MethodStats> stats = std::make_shared<MethodStats>();
};

// The methods of one lane. Filled before the first call; pointers it gives stay valid.
class Router {
 public:
  // add("etcdserverpb.KV", "Range", ...). Once each: CHECKed. What is counted outlives the router
  // for whoever keeps it.
  std::shared_ptr<const MethodStats> add(std::string_view service, std::string_view name,
                                         MethodKind kind, HandlerFactory make);

  // nullptr if there is none; refusal() then says what to answer.
  const Method* find(std::string_view path) const;
  // grpc.md 3: malformed method name, unknown service, unknown method (all kUnimplemented).
  Status refusal(std::string_view path) const;

 private:
  base::HashMap<std::string, std::unique_ptr<Method>> methods_;  // by path
  base::HashSet<std::string> services_;
};

// What a handler answers when the bytes are no protobuf message of the method's type (grpc.md 3).
Status unparsable_message(MethodKind kind);

}  // namespace keelson::http
