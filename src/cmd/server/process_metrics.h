// ProcessMetrics: what the kernel says of this process, in the names of Prometheus' standard
// process collector and of etcd's os_fd_*. operations.md 6. Any thread.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

namespace keelson::cmd {

class ProcessMetrics : public prometheus::Collectable {
 public:
  // What cannot be read is left out.
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace keelson::cmd
