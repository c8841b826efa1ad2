// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/pg_settling.h"

#include <gtest/gtest.h>

#include <memory>

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;

class PgSettlingTest : public ::testing::Test {
 protected:
  static objecter::PoolInfo pool(objecter::PoolId id, uint32_t pg_num = 8) {
    objecter::PoolInfo made;
    made.id = id;
    made.pg_num = pg_num;
    made.members = {{0, 1}, {1, 1}};
    return made;
  }
  void take_map(std::vector<objecter::PoolInfo> pools) {
    auto map = std::make_shared<objecter::OsdMap>();
    map->pools = std::move(pools);
    settling.on_map(map, now);
  }
  std::chrono::milliseconds settles_in(objecter::PoolId id) const {
    return settling.of_pool(id, now).settles_in;
  }

  PgSettling::TimePoint now{1h};
  PgSettling settling{30s};
};

TEST_F(PgSettlingTest, NothingSettlesBeforeTheClusterServesOpsHere) {
  now += 1h;
  EXPECT_EQ(settles_in(1), 30s);
  EXPECT_EQ(settling.of_pool(1, now).timeout, 30s);
  EXPECT_EQ(settling.served_for(now), 0s);
}

TEST_F(PgSettlingTest, APoolSettlesOnceItWasServedForTheTimeout) {
  settling.on_serving(now);
  take_map({pool(1)});
  now += 29s + 999ms + 1us;
  EXPECT_EQ(settles_in(1), 1ms) << "rounded up: nobody acts a moment too early";
  now += 1ms;
  EXPECT_TRUE(settling.of_pool(1, now).is_settled());
}

TEST_F(PgSettlingTest, OnlyTheFirstCallBeginsTheTimeOfServing) {
  settling.on_serving(now);
  now += 20s;
  settling.on_serving(now);
  EXPECT_EQ(settling.served_for(now), 20s);
  EXPECT_EQ(settles_in(1), 10s);
}

TEST_F(PgSettlingTest, APoolThatIsPlacedOtherwiseIsServedFromThenOn) {
  settling.on_serving(now);
  take_map({pool(1), pool(2)});
  now += 1h;
  take_map({pool(1, 16), pool(2)});
  EXPECT_EQ(settles_in(1), 30s);
  EXPECT_EQ(settles_in(2), 0s);
}

TEST_F(PgSettlingTest, AMapThatPlacesAlikeChangesNothing) {
  settling.on_serving(now);
  take_map({pool(1)});
  now += 20s;
  take_map({pool(1)});
  EXPECT_EQ(settles_in(1), 10s);
}

TEST_F(PgSettlingTest, ANewPoolIsServedFromItsFirstMapOn) {
  settling.on_serving(now);
  take_map({pool(1)});
  now += 1h;
  take_map({pool(1), pool(2)});
  EXPECT_EQ(settles_in(2), 30s);
}

TEST_F(PgSettlingTest, APoolThatIsMadeAgainIsNew) {
  settling.on_serving(now);
  take_map({pool(1)});
  take_map({});
  now += 1h;
  take_map({pool(1)});
  EXPECT_EQ(settles_in(1), 30s);
}

}  // namespace
}  // namespace lunar::osd
