#include "cmd/ctl/txn_text.h"

#include <fmt/format.h>

#include <array>
#include <optional>

#include "base/go_text.h"

namespace keelson::cmd::ctl {
namespace {

// Of a regular expression's \s.
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r' && c != '\v'); }

// "..." at the front, with backslashes kept; empty: none.
std::string_view double_quoted(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') return text.substr(0, i + 1);
    if (text[i] == '\\') ++i;
  }
  return {};
}

std::string_view single_quoted(std::string_view text) {
  const std::size_t end = text.find('\'', 1);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

// Up to white space. A quote may stand within a word, but neither at its start nor, if there is
// more than one character, as all that follows the first.
std::string_view bare(std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && !is_space(text[end])) ++end;
  return text.substr(0, end);
}

}  // namespace

base::Result<std::vector<std::string>, Exit> split_words(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const char c = line[0];
    std::string_view word;
    if (c == '"') {
      word = double_quoted(line);
    } else if (c == '\'') {
      word = single_quoted(line);
    } else if (!is_space(c)) {
      word = bare(line);
    }
    if (word.empty()) {  // white space, or a quote that nothing closes
      line.remove_prefix(1);
      continue;
    }
    line.remove_prefix(word.size());
    if (c == '\'') {
      words.emplace_back(word.substr(1, word.size() - 2));
    } else if (c == '"') {
      auto text = base::unquote(word);
      if (!text) return exit_with(kExitInvalidInput, "invalid syntax");
      words.push_back(*std::move(text));
    } else {
      words.emplace_back(word);
    }
  }
  return words;
}

// Comparisons ------------------------------------------------------------------------------------

namespace {

// What Go's Sscanf reads with the format "%q) %s %q", and how many of the three.
struct Scanned {
  std::string key, op, value;
  int count = 0;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<std::string> quoted() {
    skip_space();
    if (text_.empty()) return std::nullopt;
    std::string_view token;
    if (text_[0] == '"') token = double_quoted(text_);
    if (text_[0] == '`') token = text_.substr(0, text_.find('`', 1) + 1);
    if (token.size() < 2) return std::nullopt;
    text_.remove_prefix(token.size());
    return base::unquote(token);
  }
  std::optional<std::string> word() {
    skip_space();
    std::size_t end = 0;
    while (end < text_.size() && !is_space(text_[end])) ++end;
    if (end == 0) return std::nullopt;
    std::string word(text_.substr(0, end));
    text_.remove_prefix(end);
    return word;
  }
  bool character(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  // At least one, unless nothing follows.
  bool space() {
    if (!text_.empty() && !is_space(text_[0])) return false;
    skip_space();
    return true;
  }

 private:
  void skip_space() {
    while (!text_.empty() && is_space(text_[0])) text_.remove_prefix(1);
  }
  std::string_view text_;
};

Scanned scan(std::string_view text) {
  Scanner scanner(text);
  Scanned scanned;
  const auto key = scanner.quoted();
  if (!key) return scanned;
  scanned.key = *key;
  scanned.count = 1;
  if (!scanner.character(')') || !scanner.space()) return scanned;
  const auto op = scanner.word();
  if (!op) return scanned;
  scanned.op = *op;
  scanned.count = 2;
  if (!scanner.space()) return scanned;
  const auto value = scanner.quoted();
  if (!value) return scanned;
  scanned.value = *value;
  scanned.count = 3;
  return scanned;
}

std::optional<pb::Compare::CompareResult> result_of(std::string_view op) {
  if (op == "=") return pb::Compare::EQUAL;
  if (op == "!=") return pb::Compare::NOT_EQUAL;
  if (op == ">") return pb::Compare::GREATER;
  if (op == "<") return pb::Compare::LESS;
  return std::nullopt;
}

std::optional<pb::Compare::CompareTarget> target_of(std::string_view name) {
  if (name == "ver" || name == "version") return pb::Compare::VERSION;
  if (name == "c" || name == "create") return pb::Compare::CREATE;
  if (name == "m" || name == "mod") return pb::Compare::MOD;
  if (name == "val" || name == "value") return pb::Compare::VALUE;
  if (name == "lease") return pb::Compare::LEASE;
  return std::nullopt;
}

std::unexpected<Exit> malformed(std::string_view line, std::string_view more) {
  return exit_with(kExitInvalidInput, fmt::format("malformed comparison: {}{}", line, more));
}

// Numbers are decimal; lease ids hexadecimal, as everywhere else.
bool set_value(pb::Compare& compare, const std::string& text) {
  if (compare.target() == pb::Compare::VALUE) {
    compare.set_value(text);
    return true;
  }
  const auto number = base::parse_int(text, compare.target() == pb::Compare::LEASE ? 16 : 10);
  if (!number) return false;
  switch (compare.target()) {
    case pb::Compare::VERSION:
      compare.set_version(*number);
      break;
    case pb::Compare::CREATE:
      compare.set_create_revision(*number);
      break;
    case pb::Compare::MOD:
      compare.set_mod_revision(*number);
      break;
    default:
      compare.set_lease(*number);
      break;
  }
  return true;
}

}  // namespace

base::Result<pb::Compare, Exit> parse_compare(std::string_view line) {
  const std::size_t open = line.find('(');
  if (open == std::string_view::npos) return malformed(line, "");
  const std::string_view name = line.substr(0, open);
  const Scanned scanned = scan(line.substr(open + 1));
  if (scanned.count != 3) {
    return malformed(line, fmt::format("; got {}({}) {} {}", name, base::quote(scanned.key),
                                       scanned.op, base::quote(scanned.value)));
  }
  const auto target = target_of(name);
  if (!target) return malformed(line, fmt::format(" (unknown target {})", name));
  const auto result = result_of(scanned.op);
  if (!result) return malformed(line, fmt::format(" (unknown result op {})", scanned.op));
  pb::Compare compare;
  compare.set_key(scanned.key);
  compare.set_target(*target);
  compare.set_result(*result);
  if (!set_value(compare, scanned.value)) {
    return exit_with(kExitInvalidInput, fmt::format("invalid txn compare request: {}", line));
  }
  return compare;
}

// Requests ---------------------------------------------------------------------------------------

namespace {

// Stands above the commands of a line, in their usage.
constexpr Command kNobody = {.use = "", .summary = "", .description = ""};

}  // namespace

base::Result<pb::RequestOp, Exit> parse_request(std::string_view line,
                                                const RequestContext& context) {
  ASSIGN_OR_RETURN(const auto words, split_words(line));
  if (words.size() < 2) {
    return exit_with(kExitInvalidInput, fmt::format("invalid txn compare request: {}", line));
  }
  constexpr const Command* kCommands[] = {&kPutCommand, &kGetCommand, &kDelCommand};
  const auto parsed = parse_line(kCommands, words);
  const auto invalid = [&] {
    return exit_with(kExitInvalidInput, fmt::format("invalid txn request: {}", line));
  };
  if (!parsed) return invalid();
  if (!parsed->flags_are_right) {
    context.output.complain(usage_text({&kNobody, parsed->command}, "") + "\n");
    return invalid();
  }
  if (parsed->flags.flag("help")) return invalid();
  pb::RequestOp op;
  if (parsed->command == &kPutCommand) {
    ASSIGN_OR_RETURN(*op.mutable_request_put(), put_request(parsed->flags, context));
  } else if (parsed->command == &kGetCommand) {
    ASSIGN_OR_RETURN(*op.mutable_request_range(), range_request(parsed->flags));
  } else {
    ASSIGN_OR_RETURN(*op.mutable_request_delete_range(), delete_request(parsed->flags, context));
  }
  return op;
}

}  // namespace keelson::cmd::ctl
