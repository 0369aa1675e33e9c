#include "api/metrics_page.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>

#include "api/collector.h"
#include "api/context.h"
#include "base/check.h"
#include "http/gzip.h"

namespace keelson::api {
namespace {

constexpr const char* kContentType =
    "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

prometheus::Gauge& in_flight(prometheus::Registry& registry) {
  return prometheus::BuildGauge()
      .Name("promhttp_metric_handler_requests_in_flight")
      .Help("Scrapes being served.")
      .Register(registry)
      .Add({});
}

prometheus::Counter& served(prometheus::Registry& registry, const char* code = "200") {
  return prometheus::BuildCounter()
      .Name("promhttp_metric_handler_requests_total")
      .Help("Scrapes by status code.")
      .Register(registry)
      .Add({{"code", code}});
}

std::string render(const Sources& sources, const GrpcMetrics& calls) {
  const member::Metrics& metrics = sources.shared.metrics;
  std::vector<prometheus::MetricFamily> families = metrics.registry->Collect();
  const auto add = [&families](std::vector<prometheus::MetricFamily> more) {
    std::move(more.begin(), more.end(), std::back_inserter(families));
  };
  add(gather(sources));
  add(calls.Collect());
  for (const prometheus::Collectable* one : metrics.collectables) add(one->Collect());
  std::sort(families.begin(), families.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

class MetricsPage : public http::RequestHandler {
 public:
  MetricsPage(member::Front& front, const GrpcMetrics& calls)
      : front_(front), calls_(calls), registry_(*front.shared().metrics.registry), waiting_(front) {
    in_flight(registry_).Increment();
    // Scrapes are answered 200 or not at all; the others are there for who looks for them.
    for (const char* code : {"200", "500", "503"}) MAYBE(&served(registry_, code));
  }
  ~MetricsPage() override { in_flight(registry_).Decrement(); }

  void on_request(http::Exchange& exchange) override {
    const auto accepted = exchange.request().headers.find("Accept-Encoding");
    const bool gzip = accepted && accepted->find("gzip") != std::string_view::npos;
    waiting_ = front_.on_store([this, &exchange, gzip](store::Store& store) -> base::Job {
      return [this, &exchange, gzip, stats = store.stats()] { make(exchange, gzip, stats); };
    });
  }

 private:
  void make(http::Exchange& exchange, bool gzip, const store::Stats& stats) {
    waiting_ = front_.on_worker([this, &exchange, gzip, stats, &shared = front_.shared(),
                                 &calls = calls_, view = front_.view()]() -> base::Job {
      std::string text = render({shared, *view, stats}, calls);
      if (gzip) text = http::gzip(text);
      return [this, &exchange, gzip, text = std::move(text)]() mutable {
        waiting_ = 0;
        respond(exchange, gzip, std::move(text));
      };
    });
  }
  void respond(http::Exchange& exchange, bool gzip, std::string text) {
    http::Headers headers{{"Content-Type", kContentType}};
    if (gzip) headers.add("Content-Encoding", "gzip");
    served(registry_).Increment();
    exchange.respond({.headers = std::move(headers), .body = std::move(text)});
  }

  member::Front& front_;
  const GrpcMetrics& calls_;
  prometheus::Registry& registry_;
  Waiting waiting_;
};

}  // namespace

std::unique_ptr<http::RequestHandler> make_metrics_page(member::Front& front,
                                                        const GrpcMetrics& calls) {
  return std::make_unique<MetricsPage>(front, calls);
}

}  // namespace keelson::api
