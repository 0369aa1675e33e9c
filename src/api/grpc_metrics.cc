#include "api/grpc_metrics.h"

#include <array>
#include <optional>

#include "api/rpc_status.h"

namespace keelson::api {
namespace {

using Labels = std::map<std::string, std::string>;

std::string_view type_name(http::MethodKind kind) {
  switch (kind) {
    case http::MethodKind::kUnary:
      return "unary";
    case http::MethodKind::kServerStream:
      return "server_stream";
    case http::MethodKind::kBidiStream:
      return "bidi_stream";
  }
  CHECK(false);
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xC2 && lead < 0xE0 ? 2
                               : lead >= 0xE0 && lead < 0xF0 ? 3
                               : lead >= 0xF0 && lead < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return false;
    std::uint32_t point = length == 1 ? lead : lead & (0xFF >> (length + 1));
    for (std::size_t k = 1; k < length; k++) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0) != 0x80) return false;
      point = point << 6 | (next & 0x3F);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || (point >= 0xD800 && point < 0xE000) || point > 0x10FFFF) return false;
    i += length;
  }
  return true;
}

constexpr std::size_t kVersionsCounted = 100;  // label values come from clients: bounded

}  // namespace

struct GrpcMetrics::MethodCounters {
  prometheus::Counter& started;
  prometheus::Counter& received;
  prometheus::Counter& sent;
  std::array<prometheus::Counter*, http::kStatusCodeCount> handled;
  std::string type;
};

// Passes everything on and counts what goes out.
class GrpcMetrics::CountedCall : public http::Call {
 public:
  CountedCall(http::Call& inner, GrpcMetrics& metrics, const MethodCounters& counters)
      : inner_(inner), metrics_(metrics), counters_(counters) {}

  std::string_view path() const override { return inner_.path(); }
  std::optional<std::string_view> metadata(std::string_view name) const override {
    return inner_.metadata(name);
  }
  std::optional<base::TimePoint> deadline() const override { return inner_.deadline(); }
  const http::Peer& peer() const override { return inner_.peer(); }
  bool gzip() const override { return inner_.gzip(); }

  void send(std::string message) override {
    count_sent(message.size());
    inner_.send(std::move(message));
  }
  void send(std::string head, std::vector<base::SharedBytes> parts) override {
    std::size_t bytes = head.size();
    for (const base::SharedBytes& part : parts) bytes += part.size();
    count_sent(bytes);
    inner_.send(std::move(head), std::move(parts));
  }
  void send_streamed(std::uint64_t length, std::unique_ptr<http::BodySource> source) override {
    count_sent(length);
    inner_.send_streamed(length, std::move(source));
  }
  void resume() override { inner_.resume(); }
  std::size_t unsent_bytes() const override { return inner_.unsent_bytes(); }
  void finish(http::Status status) override {
    end(status.code);
    inner_.finish(std::move(status));
  }
  void pause_reading() override { inner_.pause_reading(); }
  void resume_reading() override { inner_.resume_reading(); }

  // Counts the call's end, once.
  void end(http::StatusCode code) {
    if (std::exchange(ended_, true)) return;
    counters_.handled[static_cast<std::size_t>(code)]->Increment();
  }

 private:
  void count_sent(std::uint64_t bytes) {
    counters_.sent.Increment();
    metrics_.sent_bytes_.Increment(static_cast<double>(bytes));
  }

  http::Call& inner_;
  GrpcMetrics& metrics_;
  const MethodCounters& counters_;
  bool ended_ = false;
};

class GrpcMetrics::CountedHandler : public http::CallHandler {
 public:
  CountedHandler(http::Call& call, GrpcMetrics& metrics,
                 std::shared_ptr<const MethodCounters> counters)
      : metrics_(metrics), counters_(std::move(counters)), call_(call, metrics, *counters_) {}

  // False if the method ended the call itself.
  bool make(const http::HandlerFactory& factory) {
    inner_ = factory(call_);
    return inner_ != nullptr;
  }

  void on_message(http::Message message) override {
    counters_->received.Increment();
    metrics_.received_bytes_.Increment(static_cast<double>(message.view().size()));
    inner_->on_message(std::move(message));
  }
  void on_half_close() override { inner_->on_half_close(); }
  void on_cancelled(http::CancelReason reason) override {
    call_.end(http::status_code(reason));
    inner_->on_cancelled(reason);
  }
  void on_drained() override { inner_->on_drained(); }

 private:
  GrpcMetrics& metrics_;
  std::shared_ptr<const MethodCounters> counters_;
  CountedCall call_;
  std::unique_ptr<http::CallHandler> inner_;  // before call_: it speaks to it until its end
};

GrpcMetrics::GrpcMetrics(prometheus::Registry& registry)
    : started_(prometheus::BuildCounter()
                   .Name("grpc_server_started_total")
                   .Help("Calls started on the server.")
                   .Register(registry)),
      handled_(prometheus::BuildCounter()
                   .Name("grpc_server_handled_total")
                   .Help("Calls ended on the server, by code.")
                   .Register(registry)),
      received_(prometheus::BuildCounter()
                    .Name("grpc_server_msg_received_total")
                    .Help("Messages received on the server.")
                    .Register(registry)),
      sent_(prometheus::BuildCounter()
                .Name("grpc_server_msg_sent_total")
                .Help("Messages sent by the server.")
                .Register(registry)),
      client_requests_(prometheus::BuildCounter()
                           .Name("etcd_server_client_requests_total")
                           .Help("Requests by type and client API version.")
                           .Register(registry)),
      received_bytes_(prometheus::BuildCounter()
                          .Name("etcd_network_client_grpc_received_bytes_total")
                          .Help("Payload bytes received from clients.")
                          .Register(registry)
                          .Add({})),
      sent_bytes_(prometheus::BuildCounter()
                      .Name("etcd_network_client_grpc_sent_bytes_total")
                      .Help("Payload bytes sent to clients.")
                      .Register(registry)
                      .Add({})) {}

http::HandlerFactory GrpcMetrics::counted(std::string_view service, std::string_view name,
                                          http::MethodKind kind, http::HandlerFactory make,
                                          member::Front& front) {
  const Labels labels{{"grpc_service", std::string(service)},
                      {"grpc_method", std::string(name)},
                      {"grpc_type", std::string(type_name(kind))}};
  auto counters = std::make_shared<MethodCounters>(
      MethodCounters{.started = started_.Add(labels),
                     .received = received_.Add(labels),
                     .sent = sent_.Add(labels),
                     .handled = {},
                     .type = kind == http::MethodKind::kUnary ? "unary" : "stream"});
  for (std::size_t code = 0; code < http::kStatusCodeCount; code++) {
    Labels with_code = labels;
    with_code["grpc_code"] = http::status_code_name(static_cast<http::StatusCode>(code));
    counters->handled[code] = &handled_.Add(with_code);
  }
  // The counters of the client versions seen on this lane, looked up once each.
  auto versions = std::make_shared<base::HashMap<std::string, prometheus::Counter*>>();
  return [this, counters, versions, make = std::move(make),
          &front](http::Call& call) -> std::unique_ptr<http::CallHandler> {
    counters->started.Increment();
    const auto refuse = [&](RequestErrc errc) -> std::unique_ptr<http::CallHandler> {
      http::Status status = status_of(errc);
      counters->handled[static_cast<std::size_t>(status.code)]->Increment();
      call.finish(std::move(status));
      return nullptr;
    };
    const std::string_view version = call.metadata("client-api-version").value_or("unknown");
    if (!is_utf8(version)) return refuse(RequestErrc::kInvalidClientApiVersion);
    auto it = versions->find(version);
    if (it == versions->end() && versions->size() < kVersionsCounted) {
      it = versions
               ->emplace(version,
                         &client_requests_.Add({{"type", counters->type},
                                                {"client_api_version", std::string(version)}}))
               .first;
    }
    if (it != versions->end()) it->second->Increment();
    if (call.metadata("hasleader") == "true" && front.progress().leader.load() == raft::kNone) {
      return refuse(RequestErrc::kNoLeader);
    }
    auto handler = std::make_unique<CountedHandler>(call, *this, counters);
    if (!handler->make(make)) return nullptr;
    return handler;
  };
}

}  // namespace keelson::api
