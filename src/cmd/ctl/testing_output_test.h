// What a command wrote, for tests.
#pragma once

#include <string>

#include "cmd/ctl/output.h"

namespace keelson::cmd::ctl {

class TestOutput final : public Output {
 public:
  std::string out, error;

 protected:
  void write_out(std::string_view text) override { out += text; }
  void write_error(std::string_view text) override { error += text; }
};

}  // namespace keelson::cmd::ctl
