// EventList: what an event becomes, alone and among others; and whose memory that is.
#include "watch/event_list.h"

#include <gtest/gtest.h>

#include "mvcc/record.h"

namespace keelson::watch {
namespace {

const std::string kValue(2000, 'v');

mvcc::Event put(std::int64_t revision) {
  return {.record = {.revision = {revision, 0},
                     .create_revision = revision,
                     .version = 1,
                     .encoded = mvcc::encode({.key = "k",
                                              .create_revision = revision,
                                              .mod_revision = revision,
                                              .version = 1,
                                              .value = kValue})},
          .previous = std::nullopt};
}

std::string whole(const Payload& payload) { return payload.head + std::string(payload.bytes); }

Payload all(EventList& list, EventList::Filter filter = {}) {
  std::vector<std::size_t> chosen(list.size());
  for (std::size_t i = 0; i < chosen.size(); i++) chosen[i] = i;
  return list.payload(chosen, filter, /*previous=*/false);
}

TEST(EventList, APutThatGoesAloneIsNotCopied) {
  const mvcc::Event event = put(7);
  EventList list;
  list.add(event);
  const Payload payload = all(list);
  EXPECT_EQ(payload.bytes.data(), event.record.encoded.data());
  EXPECT_EQ(whole(payload), encode_event(event, {}).view());
  ASSERT_EQ(payload.pieces.size(), 1u);
  EXPECT_EQ(payload.slice(0, 1).view(), event.record.encoded.view());
}

TEST(EventList, WhatWasReadForCatchingUpIsCopied) {
  const mvcc::Event event = put(7);
  EventList list;
  list.add(event, base::SharedBytes());
  const Payload payload = all(list);
  EXPECT_NE(payload.bytes.data(), event.record.encoded.data());
  EXPECT_EQ(whole(payload), encode_event(event, {}).view());
}

TEST(EventList, DeletionsAndSeveralTogetherAreWritten) {
  mvcc::Event gone = put(8);
  gone.record.tombstone = true;
  const mvcc::Event event = put(7);
  EventList list;
  list.add(event);
  list.add(gone);
  EXPECT_EQ(whole(all(list)),
            std::string(encode_event(event, {})) + std::string(encode_event(gone, {})));
  EXPECT_EQ(whole(all(list, {.no_put = true})), encode_event(gone, {}).view());
  EXPECT_TRUE(all(list, {.no_put = true, .no_delete = true}).empty());
}

TEST(EventList, APutWithWhatItSupersededIsWritten) {
  const mvcc::Event event = put(7);
  const std::string before = "as it was";
  EventList list;
  list.add(event, base::SharedBytes(before));
  const std::size_t chosen = 0;
  const Payload payload = list.payload({&chosen, 1}, {}, /*previous=*/true);
  EXPECT_EQ(whole(payload), encode_event(event, before).view());
}

}  // namespace
}  // namespace keelson::watch
