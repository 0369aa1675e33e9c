// Runner for testdata/*.txt: a directive, its input, "----", the expected output. raft.md 16.1 (the
// syntax of cockroachdb/datadriven).
//
// Set KEELSON_REWRITE=1 to rewrite the expected outputs in place; review the diff.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::testing {

struct Argument {
  std::string key;
  std::vector<std::string> values;  // none: a bare key; key=(a, b): two
};

struct Directive {
  std::string command;
  std::vector<Argument> arguments;
  std::string input;     // trimmed
  std::string position;  // "file:line", for messages

  bool has(std::string_view key) const { return find(key) != nullptr; }
  // First value of `key`, `fallback` if it is absent.
  std::string text(std::string_view key, std::string_view fallback = "") const;
  std::int64_t number(std::string_view key, std::int64_t fallback = 0) const;
  const Argument* find(std::string_view key) const;
  // The bare argument at this place among the bare ones ("put foo bar": 0 is foo).
  std::string bare(std::size_t place) const;
};

// Runs every case of the file in order; fails the current test where output and expectation differ.
// What `normalize` makes of both is compared, if it is given.
void run_script(const std::string& path,
                const std::function<std::string(const Directive&)>& handler,
                const std::function<std::string(const std::string&)>& normalize = nullptr);

// Runs each *.txt under `directory`, in the order of names, with a fresh handler from `make`.
void run_scripts(const std::string& directory,
                 const std::function<std::function<std::string(const Directive&)>()>& make);

}  // namespace keelson::testing
