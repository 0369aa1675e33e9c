// The revision array and the tail index against a sorted list; joined checksums against the slow
// way.

#include "store/revision_array.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "store/crc_join.h"
#include "store/tail_index.h"

namespace keelson::store {
namespace {

using base::Revision;

struct Shape {
  const char* what;
  std::size_t records;
  std::uint64_t main_step;  // mains are up to so far apart
  std::uint64_t subs;       // changes of one main, at most
  std::uint64_t offset_step;
  bool wide;
};

std::vector<Place> make_places(base::Random& random, const Shape& shape) {
  std::vector<Place> places;
  Revision revision{static_cast<std::int64_t>(1 + random.below(1000)), 0};
  std::uint64_t offset = 64, subs_left = random.below(shape.subs);
  for (std::size_t i = 0; i < shape.records; i++) {
    places.push_back({revision, offset});
    offset += 8 * (1 + random.below(shape.offset_step));
    if (subs_left-- > 0) {
      revision.sub += 1;
    } else {
      revision = {revision.main + 1 + static_cast<std::int64_t>(random.below(shape.main_step)), 0};
      subs_left = random.below(shape.subs);
    }
  }
  return places;
}

TEST(RevisionArray, AgreesWithASortedList) {
  const Shape shapes[] = {
      {"empty", 0, 1, 1, 1, false},
      {"one", 1, 1, 1, 1, false},
      {"a full block", 16, 1, 1, 50, false},
      {"dense mains", 5000, 1, 1, 40, false},
      {"sparse mains", 5000, 100000, 1, 40, false},
      {"large transactions", 5000, 3, 500, 40, false},
      {"a transaction beyond 511 changes", 3000, 1, 3000, 40, true},
      {"beyond 64 MiB", 3000, 1, 1, 1 << 13, true},
      {"mains far apart", 3000, std::uint64_t{1} << 40, 1, 1, true},
  };
  base::Random random(3);
  for (const Shape& shape : shapes) {
    const auto places = make_places(random, shape);
    RevisionArray::Builder builder({});
    for (const Place& place : places) builder.add(place);
    const RevisionArray array = builder.build();
    EXPECT_EQ(array.wide(), shape.wide) << shape.what;
    const auto decoded =
        RevisionArray::decode(array.encode(), array.size(), array.base(), array.wide());
    ASSERT_TRUE(decoded) << shape.what;
    ASSERT_EQ(decoded->size(), places.size());
    for (std::size_t i = 0; i < places.size(); i++) {
      ASSERT_EQ((*decoded)[i], places[i]) << shape.what;
      ASSERT_EQ(decoded->find(places[i].revision), i) << shape.what;
    }
    for (int n = 0; n < 3000 && !places.empty(); n++) {
      Revision wanted = places[random.below(places.size())].revision;
      wanted.main += static_cast<std::int64_t>(random.below(5)) - 2;
      wanted.sub += static_cast<std::int64_t>(random.below(1200)) - 600;
      const auto it = std::lower_bound(places.begin(), places.end(), wanted,
                                       [](const Place& p, Revision r) { return p.revision < r; });
      const auto expected = static_cast<std::size_t>(it - places.begin());
      ASSERT_EQ(decoded->lower_bound(wanted), expected) << shape.what << " " << wanted.main;
      const bool is_there = it != places.end() && it->revision == wanted;
      ASSERT_EQ(decoded->find(wanted).has_value(), is_there) << shape.what;
    }
  }
}

TEST(RevisionArray, CostsLittle) {
  base::Random random(4);
  RevisionArray::Builder builder({});
  for (const Place& place : make_places(random, {"", 100000, 2, 1, 60, false})) builder.add(place);
  EXPECT_LT(builder.build().memory_bytes(), 100000 * 8.6);
}

TEST(RevisionArray, RefusesWhatDoesNotAscend) {
  RevisionArray::Builder builder({});
  for (std::int64_t i = 0; i < 40; i++)
    builder.add({{i + 2, 0}, 64 + 40 * static_cast<std::uint64_t>(i)});
  const std::string good = builder.build().encode();
  EXPECT_TRUE(RevisionArray::decode(good, 40, 2, false));
  EXPECT_FALSE(RevisionArray::decode(good, 41 + 16, 2, false)) << "another number";
  EXPECT_FALSE(RevisionArray::decode(good, ~std::uint64_t{0}, 2, false)) << "an absurd number";
  std::string swapped = good;
  std::swap(swapped[0], swapped[4]);
  EXPECT_FALSE(RevisionArray::decode(swapped, 40, 2, false)) << "not in order";
}

TEST(TailIndex, AgreesWithASortedList) {
  base::Random random(5);
  const auto places = make_places(random, {"", 9000, 3, 4, 10, false});
  TailIndex tail;
  for (const Place& place : places)
    tail.append({.revision = place.revision, .offset = place.offset});
  for (std::size_t i = 0; i < places.size(); i++) {
    ASSERT_EQ(tail[i].offset, places[i].offset);
    ASSERT_EQ(tail.lower_bound(places[i].revision, places.size()), i);
    ASSERT_EQ(tail.lower_bound(places[i].revision, i), i) << "not beyond its count";
  }
}

TEST(CrcJoin, AgreesWithTheSlowWay) {
  base::Random random(6);
  for (std::uint64_t length : {0, 1, 17, 255, 256, 257, 65535, 65536, 70000, 300000}) {
    const std::string a = random.bytes(50), b = random.bytes(length);
    const std::uint32_t crc_a = base::crc32c(0, a), crc_b = base::crc32c(0, b);
    EXPECT_EQ(crc_join(crc_a, crc_b, length), base::crc32c(0, a + b)) << length;
  }
  for (int i = 0; i < 1000; i++) {
    const auto a = static_cast<std::uint32_t>(random.next()),
               b = static_cast<std::uint32_t>(random.next());
    const std::uint64_t length = random.next() >> random.below(64);
    ASSERT_EQ(crc_join(a, b, length), base::crc32c_combine(a, b, length)) << length;
  }
}

}  // namespace
}  // namespace keelson::store
