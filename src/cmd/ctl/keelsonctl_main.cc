// keelsonctl: etcdctl's commands. Called by the name etcdctl, it says so in its messages.
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/ctl/root.h"

extern char** environ;

int main(int argc, char** argv) {
  std::string_view name = argc > 0 ? argv[0] : "";
  name.remove_prefix(name.rfind('/') + 1);
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);
  }
  keelson::cmd::ctl::StandardOutput output;
  const int code = keelson::cmd::ctl::run(
      output, name == "etcdctl" ? "etcdctl" : "keelsonctl",
      std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), std::move(environment));
  output.flush();
  // Nothing that is still open matters any more.
  std::_Exit(code);
}
