#include "testing/script.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace keelson::testing {
namespace {

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// Splits "a, (b, c), d" at the commas outside parentheses.
std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values;
  int depth = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= text.size(); i++) {
    if (i < text.size() && text[i] == '(') depth++;
    if (i < text.size() && text[i] == ')') depth--;
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      values.emplace_back(trim(text.substr(start, i - start)));
      start = i + 1;
    }
  }
  return values;
}

Directive parse_directive(std::string_view line) {
  Directive directive;
  const auto take_word = [&line]() -> std::string_view {
    line = trim(line);
    std::size_t end = 0;
    for (int depth = 0; end < line.size(); end++) {
      if (line[end] == '(') depth++;
      if (line[end] == ')') depth--;
      if (depth == 0 && (line[end] == ' ' || line[end] == '\t')) break;
    }
    const auto word = line.substr(0, end);
    line.remove_prefix(end);
    return word;
  };
  directive.command = take_word();
  while (!trim(line).empty()) {
    const auto word = take_word();
    Argument argument;
    const auto equals = word.find('=');
    argument.key = word.substr(0, equals);
    if (equals != std::string_view::npos) {
      auto value = word.substr(equals + 1);
      if (value.size() >= 2 && value.front() == '(' && value.back() == ')') {
        argument.values = split_values(value.substr(1, value.size() - 2));
      } else {
        argument.values = {std::string(value)};
      }
    }
    directive.arguments.push_back(std::move(argument));
  }
  return directive;
}

}  // namespace

const Argument* Directive::find(std::string_view key) const {
  const auto it = std::find_if(arguments.begin(), arguments.end(),
                               [key](const Argument& argument) { return argument.key == key; });
  return it == arguments.end() ? nullptr : &*it;
}

std::string Directive::text(std::string_view key, std::string_view fallback) const {
  const Argument* argument = find(key);
  return std::string(argument && !argument->values.empty() ? std::string_view(argument->values[0])
                                                           : fallback);
}

std::int64_t Directive::number(std::string_view key, std::int64_t fallback) const {
  const Argument* argument = find(key);
  if (!argument || argument->values.empty()) return fallback;
  const std::string& value = argument->values[0];
  std::int64_t number = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
  EXPECT_EQ(parsed.ptr, value.data() + value.size()) << position << ": " << key << "=" << value;
  return number;
}

std::string Directive::bare(std::size_t place) const {
  for (const Argument& argument : arguments) {
    if (!argument.values.empty()) continue;
    if (place-- == 0) return argument.key;
  }
  return {};
}

void run_script(const std::string& path,
                const std::function<std::string(const Directive&)>& handler,
                const std::function<std::string(const std::string&)>& normalize) {
  std::ifstream file(path);
  ASSERT_TRUE(file) << "cannot open " << path;
  const bool rewrite = std::getenv("KEELSON_REWRITE") != nullptr;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);

  std::ostringstream rewritten;
  std::size_t at = 0;
  while (at < lines.size()) {
    const std::string_view head = trim(lines[at]);
    if (head.empty() || head.front() == '#') {
      rewritten << lines[at++] << '\n';
      continue;
    }
    const std::size_t first_line = at;
    std::string text = lines[at++];
    while (!text.empty() && text.back() == '\\' && at < lines.size()) {
      text.pop_back();
      text = std::string(trim(text)) + " " + std::string(trim(lines[at++]));
    }
    Directive directive = parse_directive(text);
    directive.position = path + ":" + std::to_string(first_line + 1);
    std::string input;
    while (at < lines.size() && lines[at] != "----") input += lines[at++] + "\n";
    ASSERT_LT(at, lines.size()) << directive.position << ": no ---- after this directive";
    directive.input = trim(input);
    for (std::size_t i = first_line; i <= at; i++) rewritten << lines[i] << '\n';
    at++;
    // Output with blank lines stands between doubled rules.
    const bool doubled = at < lines.size() && lines[at] == "----";
    std::string expected;
    if (doubled) {
      at++;
      while (at + 1 < lines.size() && !(lines[at] == "----" && lines[at + 1] == "----")) {
        expected += lines[at++] + "\n";
      }
      at += 2;
    } else {
      while (at < lines.size() && !trim(lines[at]).empty()) expected += lines[at++] + "\n";
    }
    std::string actual = handler(directive);
    if (actual.empty() || actual.back() != '\n') actual += "\n";
    if (rewrite) {
      const bool blank = actual.find("\n\n") != std::string::npos || actual.front() == '\n';
      rewritten << (blank ? "----\n" + actual + "----\n----\n" : actual);
    } else if (normalize) {
      EXPECT_EQ(normalize(actual), normalize(expected)) << directive.position << ": " << text;
    } else {
      EXPECT_EQ(actual, expected) << directive.position << ": " << text;
    }
  }
  if (rewrite) std::ofstream(path) << rewritten.str();
}

void run_scripts(const std::string& directory,
                 const std::function<std::function<std::string(const Directive&)>()>& make) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  ASSERT_FALSE(paths.empty()) << "no scripts in " << directory;
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    run_script(path, make());
  }
}

}  // namespace keelson::testing
