#include "api/memory_budget.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>

#include "api/one_member_test.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

TEST(MemoryBudget, IsSharedAndGivenBack) {
  MemoryBudget budget(100);
  std::optional<MemoryBudget::Share> a(budget), b(budget);
  EXPECT_TRUE(a->set(60));
  EXPECT_TRUE(b->set(40));
  EXPECT_FALSE(b->set(41));
  EXPECT_TRUE(MemoryBudget::Share(budget).set(0)) << "who takes nothing is in nobody's way";
  MemoryBudget::Share moved(std::move(*a));
  a.reset();
  EXPECT_EQ(budget.used(), 101u);
  EXPECT_TRUE(moved.set(10));
  b.reset();
  EXPECT_EQ(budget.used(), 10u);
}

// Rows are kept while the client has not read them: so one that sorts much is refused while another
// holds its own, and not any more when that is gone.
TEST(MemoryBudget, RangesThatSortShareIt) {
  OneMember member([](member::Config& config) { config.gathered_bytes_max = 700'000; });
  for (int i = 0; i < 400; i++) {
    etcdserverpb::PutRequest request;
    request.set_key(fmt::format("key{:05}", i));
    request.set_value(std::string(1000, 'v'));
    ASSERT_TRUE(member.call("/etcdserverpb.KV/Put", request.SerializeAsString()).status.ok());
  }
  etcdserverpb::RangeRequest all;
  all.set_key(std::string(1, '\0'));
  all.set_range_end(std::string(1, '\0'));
  etcdserverpb::RangeRequest sorted = all;
  sorted.set_sort_target(etcdserverpb::RangeRequest::VALUE);
  sorted.set_sort_order(etcdserverpb::RangeRequest::DESCEND);
  const auto ask = [&](const etcdserverpb::RangeRequest& request) {
    auto stream = member.open("/etcdserverpb.KV/Range");
    member.on_client([&] {
      stream->call->send(request.SerializeAsString());
      stream->call->half_close();
    });
    return stream;
  };
  std::vector<std::unique_ptr<OneMember::Stream>> streams;
  for (int i = 0; i < 5; i++) streams.push_back(ask(sorted));
  streams.push_back(ask(all));
  int answered = 0, refused = 0;
  for (auto& stream : streams) {
    ASSERT_TRUE(member.run_until([&] { return stream->end.has_value(); }));
    answered += stream->end->ok() ? 1 : 0;
    refused += stream->end->code == http::StatusCode::kResourceExhausted ? 1 : 0;
  }
  EXPECT_TRUE(streams.back()->end->ok()) << "in order of keys nothing is gathered";
  EXPECT_GE(answered, 2);
  EXPECT_EQ(answered + refused, 6);
  auto later = ask(sorted);
  ASSERT_TRUE(member.run_until([&] { return later->end.has_value(); }));
  EXPECT_TRUE(later->end->ok());
}

}  // namespace
}  // namespace keelson::api
