// What the services refuse before anything is proposed or read, as tables. api.md 2, 6.1.
#include "api/validation.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace keelson::api {
namespace {

using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::TxnRequest;
using enum RequestErrc;

constexpr std::size_t kOperationsMax = 128;

template <class Request>
Request parse(const std::string& text) {
  Request request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

struct Row {
  const char* why;
  std::string request;
  std::optional<RequestErrc> expected;
};

template <class Request>
void expect(std::initializer_list<Row> rows) {
  for (const Row& row : rows) {
    EXPECT_EQ(check(parse<Request>(row.request)), row.expected) << row.why;
  }
}

TEST(Validation, OfPut) {
  expect<PutRequest>({
      {"a key and a value", R"(key: "a" value: "1")", {}},
      {"a value may be empty", R"(key: "a")", {}},
      {"a key may not", R"(value: "1")", kEmptyKey},
      {"the key comes first", R"(value: "1" ignore_value: true)", kEmptyKey},
      {"a value to be ignored must not be given", R"(key: "a" value: "1" ignore_value: true)",
       kValueProvided},
      {"nor a lease", R"(key: "a" lease: 1 ignore_lease: true)", kLeaseProvided},
      {"the value comes before the lease",
       R"(key: "a" value: "1" lease: 1 ignore_value: true ignore_lease: true)", kValueProvided},
      {"both may be ignored", R"(key: "a" ignore_value: true ignore_lease: true)", {}},
  });
}

TEST(Validation, OfRange) {
  expect<RangeRequest>({
      {"a key", R"(key: "a")", {}},
      {"no key", R"(range_end: "b")", kEmptyKey},
      {"an inverted range is empty, not wrong", R"(key: "b" range_end: "a")", {}},
      {"a negative limit is none", R"(key: "a" limit: -1)", {}},
      {"an order that is none", R"(key: "a" sort_order: 3)", kInvalidSortOption},
      {"a target that is none", R"(key: "a" sort_target: 5)", kInvalidSortOption},
      {"a negative order", R"(key: "a" sort_order: -1)", kInvalidSortOption},
  });
}

TEST(Validation, OfRangeStream) {
  const std::initializer_list<Row> rows = {
      {"as Range", R"(range_end: "b")", kEmptyKey},
      {"as Range", R"(key: "a" sort_order: 3)", kInvalidSortOption},
      {"the natural order", R"(key: "a" sort_order: ASCEND)", {}},
      {"no order, whatever the target", R"(key: "a" sort_target: VALUE)", {}},
      {"another order", R"(key: "a" sort_order: DESCEND)", kStreamSort},
      {"another target", R"(key: "a" sort_order: ASCEND sort_target: MOD)", kStreamSort},
      {"a filter", R"(key: "a" min_mod_revision: 1)", kStreamFilters},
      {"a filter", R"(key: "a" max_mod_revision: 1)", kStreamFilters},
      {"a filter", R"(key: "a" min_create_revision: 1)", kStreamFilters},
      {"a filter, even negative", R"(key: "a" max_create_revision: -1)", kStreamFilters},
      {"the order comes first", R"(key: "a" sort_order: DESCEND min_mod_revision: 1)", kStreamSort},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(check_stream(parse<RangeRequest>(row.request)), row.expected) << row.why;
  }
}

TEST(Validation, OfDeleteRange) {
  expect<DeleteRangeRequest>({
      {"a key", R"(key: "a")", {}},
      {"no key", R"(range_end: "b")", kEmptyKey},
  });
}

std::string put(const std::string& key) { return "request_put { key: \"" + key + "\" }"; }
std::string erase(const std::string& key, const std::string& end = "") {
  return "request_delete_range { key: \"" + key + "\" range_end: \"" + end + "\" }";
}
std::string range(const std::string& key) { return "request_range { key: \"" + key + "\" }"; }
std::string then(const std::string& operation) { return "success { " + operation + " } "; }
std::string otherwise(const std::string& operation) { return "failure { " + operation + " } "; }
std::string nested(const std::string& txn) { return "request_txn { " + txn + " }"; }

void expect_txn(std::initializer_list<Row> rows, std::size_t operations_max = kOperationsMax) {
  for (const Row& row : rows) {
    EXPECT_EQ(check(parse<TxnRequest>(row.request), operations_max), row.expected) << row.why;
  }
}

TEST(Validation, OfATxnsFields) {
  expect_txn({
      {"nothing at all", "", {}},
      {"a compare without key", "compare { }", kEmptyKey},
      {"unknown compares are no error", R"(compare { key: "a" result: 9 target: 9 })", {}},
      {"an operation with nothing set", "success { }", kEmptyOperation},
      {"the same in the other branch", "failure { }", kEmptyOperation},
      {"operations are checked as requests", then("request_put { }"), kEmptyKey},
      {"in both branches", otherwise("request_range { }"), kEmptyKey},
      {"and in nested txns", then(nested(otherwise("request_delete_range { }"))), kEmptyKey},
      {"the first that is wrong counts", then("request_put { }") + otherwise(""), kEmptyKey},
      {"compares come before operations", then("") + "compare { }", kEmptyKey},
  });
}

TEST(Validation, OfATxnsSize) {
  expect_txn(
      {
          {"the longest list counts", then(put("a")) + then(put("b")), {}},
          {"one too many", then(put("a")) + then(put("b")) + then(put("c")), kTooManyOps},
          {"in the other branch",
           otherwise(range("a")) + otherwise(range("b")) + otherwise(range("c")), kTooManyOps},
          {"among the compares",
           R"(compare { key: "a" } compare { key: "a" } compare { key: "a" })", kTooManyOps},
          {"the count comes before the fields", "compare { } compare { } compare { }", kTooManyOps},
          {"a nested txn has what is left", then(nested(then(put("a")))), {}},
          {"and no more", then(nested(then(put("a")) + then(put("b")))), kTooManyOps},
          {"its own nested ones again less", then(nested(then(nested(then(put("a")))))),
           kTooManyOps},
          {"an empty one fits still", then(nested(then(nested("")))), {}},
      },
      2);
}

TEST(Validation, OfATxnsDuplicateKeys) {
  expect_txn({
      {"two puts of one key", then(put("a")) + then(put("a")), kDuplicateKey},
      {"one in each branch is fine", then(put("a")) + otherwise(put("a")), {}},
      {"the failure branch alone", otherwise(put("a")) + otherwise(put("a")), kDuplicateKey},
      {"a put and a delete of its key", then(put("a")) + then(erase("a")), kDuplicateKey},
      {"in any order", then(erase("a")) + then(put("a")), kDuplicateKey},
      {"a put in a deleted range", then(erase("a", "c")) + then(put("b")), kDuplicateKey},
      {"its end is outside", then(erase("a", "c")) + then(put("c")), {}},
      {"deletes overlap freely", then(erase("a", "c")) + then(erase("b", "d")), {}},
      {"ranges do not count", then(range("a")) + then(put("a")), {}},
      {"from-key is taken literally, and holds nothing",
       then(put("a")) + then(erase("a", R"(\000)")),
       {}},
      {"a nested put and one beside it", then(put("a")) + then(nested(then(put("a")))),
       kDuplicateKey},
      {"a nested one and another", then(nested(then(put("a")))) + then(nested(then(put("a")))),
       kDuplicateKey},
      {"both branches of a nested txn may put the same key",
       then(nested(then(put("a")) + otherwise(put("a")))),
       {}},
      {"and another sibling may not after that",
       then(nested(otherwise(put("a")))) + then(nested(otherwise(put("a")))), kDuplicateKey},
      {"a nested put of what is deleted here", then(nested(then(put("a")))) + then(erase("a")),
       kDuplicateKey},
      {"a nested delete of what is put here", then(nested(then(erase("a")))) + then(put("a")),
       kDuplicateKey},
      {"a later sibling's delete is not seen",
       then(nested(then(put("a")))) + then(nested(then(erase("a")))),
       {}},
      {"an earlier sibling's is", then(nested(then(erase("a")))) + then(nested(then(put("a")))),
       kDuplicateKey},
      {"deeper down too", then(nested(then(nested(then(put("a")) + then(put("a")))))),
       kDuplicateKey},
  });
}

TEST(Validation, WhichTxnsAreReads) {
  struct Kind {
    const char* why;
    std::string request;
    bool read_only, serializable;
  };
  const std::string local = R"(request_range { key: "a" serializable: true })";
  const Kind rows[] = {
      {"no operations", "", true, true},
      {"ranges", then(range("a")) + otherwise(range("b")), true, false},
      {"serializable ranges", then(local) + otherwise(local), true, true},
      {"one that is not", then(local) + otherwise(range("a")), true, false},
      {"a put", then(range("a")) + otherwise(put("a")), false, false},
      {"a nested txn, though it only reads", then(nested(then(range("a")))), false, false},
  };
  for (const Kind& row : rows) {
    const auto request = parse<TxnRequest>(row.request);
    EXPECT_EQ(is_read_only(request), row.read_only) << row.why;
    if (row.read_only) EXPECT_EQ(is_serializable(request), row.serializable) << row.why;
  }
}

// Bytes go into the log as they came only if every member's protobuf library reads the same in
// them.
TEST(Validation, WhichBytesAreCanonical) {
  struct Bytes {
    const char* why;
    std::string bytes;
    bool canonical;
  };
  const Bytes rows[] = {
      {"as any library writes it",
       std::string("\x0a\x01"
                   "a\x12\x01"
                   "1",
                   6),
       true},
      {"a zero that is written",
       std::string("\x0a\x01"
                   "a\x18\x00",
                   5),
       false},
      {"a field given twice",
       std::string("\x0a\x01"
                   "b\x0a\x01"
                   "a",
                   6),
       false},
      {"a field nobody knows",
       std::string("\x0a\x01"
                   "a\xa0\x06\x01",
                   6),
       false},
      {"a number longer than it need be",
       std::string("\x0a\x81\x00"
                   "a",
                   4),
       false},
  };
  for (const Bytes& row : rows) {
    PutRequest request;
    ASSERT_TRUE(request.ParseFromString(row.bytes)) << row.why;
    EXPECT_EQ(is_canonical(request, row.bytes.size()), row.canonical) << row.why;
  }
}

TEST(Validation, UnknownFieldsAreFoundAnywhereInATxn) {
  const std::string unknown("\xa0\x06\x01", 3);
  const auto canonical = [&](auto&& spoil) {
    auto request = parse<TxnRequest>(R"(compare { key: "a" })" + then(nested(otherwise(put("a")))) +
                                     otherwise(range("b")) + otherwise(erase("c")));
    spoil(request);
    return is_canonical(request, request.ByteSizeLong());
  };
  const auto add = [&](google::protobuf::Message& message) {
    EXPECT_TRUE(message.MergeFromString(unknown));
  };
  EXPECT_TRUE(canonical([](TxnRequest&) {}));
  EXPECT_FALSE(canonical([&](TxnRequest& txn) { add(txn); }));
  EXPECT_FALSE(canonical([&](TxnRequest& txn) { add(*txn.mutable_compare(0)); }));
  EXPECT_FALSE(canonical([&](TxnRequest& txn) { add(*txn.mutable_success(0)); }));
  EXPECT_FALSE(
      canonical([&](TxnRequest& txn) { add(*txn.mutable_failure(0)->mutable_request_range()); }));
  EXPECT_FALSE(canonical(
      [&](TxnRequest& txn) { add(*txn.mutable_failure(1)->mutable_request_delete_range()); }));
  EXPECT_FALSE(canonical([&](TxnRequest& txn) {
    add(*txn.mutable_success(0)->mutable_request_txn()->mutable_failure(0)->mutable_request_put());
  }));
}

}  // namespace
}  // namespace keelson::api
