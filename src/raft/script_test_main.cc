// raft_script_test --dir D [FILE...]: runs interaction scripts (interaction_test.h), all *.txt of
// the directory or the files named in it, one test each.
//
//   --narration   lines of narration (DEBUG, INFO, ...) are compared too; else they are left out,
//   and
//                 a case that is then empty counts as `ok`
// What else begins with a dash is GoogleTest's.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "raft/interaction_test.h"

namespace {

using keelson::raft::Narration;

class ScriptTest : public testing::Test {
 public:
  ScriptTest(std::string path, Narration narration)
      : path_(std::move(path)), narration_(narration) {}
  void TestBody() override { keelson::raft::run_script_of_etcd(path_, narration_); }

 private:
  const std::string path_;
  const Narration narration_;
};

struct Options {
  std::string directory;
  std::vector<std::string> files;
  Narration narration = Narration::kLeftOut;
  bool ok = true;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string_view argument = argv[i];
    if (argument == "--dir" && i + 1 < argc) {
      options.directory = argv[++i];
    } else if (argument.starts_with("--dir=")) {
      options.directory = argument.substr(6);
    } else if (argument == "--narration") {
      options.narration = Narration::kCompared;
    } else if (argument.starts_with("-")) {
      options.ok = false;
    } else {
      options.files.emplace_back(argument);
    }
  }
  options.ok = options.ok && !options.directory.empty();
  return options;
}

std::vector<std::filesystem::path> scripts_of(const Options& options) {
  const std::filesystem::path directory = options.directory;
  std::vector<std::filesystem::path> paths;
  for (const std::string& file : options.files) paths.push_back(directory / file);
  if (!paths.empty()) return paths;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
    if (file.path().extension() == ".txt") paths.push_back(file.path());
  }
  std::ranges::sort(paths);
  return paths;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const Options options = parse(argc, argv);
  if (!options.ok) {
    std::fputs("usage: raft_script_test --dir D [FILE...] [--narration]\n", stderr);
    return 2;
  }
  const auto paths = scripts_of(options);
  if (paths.empty()) {
    std::fprintf(stderr, "raft_script_test: no scripts in %s\n", options.directory.c_str());
    return 2;
  }
  for (const auto& path : paths) {
    testing::RegisterTest("RaftScript", path.stem().c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [path = path.string(), narration = options.narration] {
                            return new ScriptTest(path, narration);
                          });
  }
  return RUN_ALL_TESTS();
}
