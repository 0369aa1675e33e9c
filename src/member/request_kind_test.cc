#include "member/request_kind.h"

#include <gtest/gtest.h>

#include "proto/raft_internal.pb.h"

namespace keelson::member {
namespace {

TEST(RequestKind, IsFoundWhereverIdAndHeaderStand) {
  etcdserverpb::InternalRaftRequest request;
  request.set_id(7);
  request.mutable_header()->set_id(8);
  request.mutable_put()->set_key("a");
  EXPECT_EQ(request_kind(request.SerializeAsString()), RequestKind::kPut);
  request.clear_put();
  request.mutable_cluster_version_set()->set_ver("3.7.0");  // its field comes behind the header
  EXPECT_EQ(request_kind(request.SerializeAsString()), RequestKind::kClusterVersionSet);
  // As a Front writes them: the request first.
  etcdserverpb::InternalRaftRequest header;
  header.mutable_header()->set_id(8);
  request.clear_id();
  request.clear_header();
  EXPECT_EQ(request_kind(request.SerializeAsString() + header.SerializeAsString()),
            RequestKind::kClusterVersionSet);
}

TEST(RequestKind, OfWhatIsNoRequestIsUnknown) {
  EXPECT_EQ(name_of(request_kind(std::string_view())), "unknown");
  EXPECT_EQ(name_of(request_kind("\x0a")), "unknown");
  EXPECT_EQ(name_of(request_kind("\xa2\x06\x7f")),
            "unknown");  // a header longer than the entry
}

}  // namespace
}  // namespace keelson::member
