// The interaction scripts of testdata/, and those of etcd's raft if KEELSON_RAFT_SCRIPTS says where
// they are: there narration is compared only if KEELSON_RAFT_NARRATION is set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "raft/interaction_test.h"

namespace keelson::raft {
namespace {

TEST(RaftScripts, Ours) {
  testing::run_scripts(std::string(KEELSON_TEST_DIR) + "/testdata", fresh_interaction);
}

TEST(RaftScripts, FromElsewhere) {
  const char* const directory = std::getenv("KEELSON_RAFT_SCRIPTS");
  if (directory == nullptr) GTEST_SKIP() << "KEELSON_RAFT_SCRIPTS names no directory";
  if (std::getenv("KEELSON_REWRITE") != nullptr) GTEST_SKIP() << "not ours to rewrite";
  const auto narration =
      std::getenv("KEELSON_RAFT_NARRATION") != nullptr ? Narration::kCompared : Narration::kLeftOut;
  std::vector<std::string> paths;
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    if (file.path().extension() == ".txt") paths.push_back(file.path().string());
  }
  ASSERT_FALSE(paths.empty()) << "no scripts in " << directory;
  std::ranges::sort(paths);
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    run_script_of_etcd(path, narration);
  }
}

}  // namespace
}  // namespace keelson::raft
