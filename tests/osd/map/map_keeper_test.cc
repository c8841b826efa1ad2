// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_keeper.h"

#include "osd/map/map_authority.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;
using objecter::Epoch;

class MapKeeperTest : public StoreFixture {
 protected:
  void keep(Epoch epoch) {
    objecter::OsdMap map = first;
    map.epoch = epoch;
    keeper.keep(std::move(map));
  }
  Epoch stored() const {
    const auto map = load_map(*store);
    return map ? (*map)->epoch : 0;
  }

  const objecter::OsdMap first = make_first_map(Uuid::random(), 0, Uuid::random());
  std::vector<Epoch> kept;
  MapKeeper keeper{*store, [this](objecter::OsdMapRef map) { kept.push_back(map->epoch); }};
};

TEST_F(MapKeeperTest, AMapIsDurableBeforeItIsOurs) {
  store->hold(Call::kRecord);
  keep(2);
  turn();
  EXPECT_TRUE(keeper.is_busy());
  EXPECT_EQ(keeper.newest()->epoch, 2u);
  EXPECT_TRUE(kept.empty());
  store->release(Call::kRecord);
  turn();
  EXPECT_FALSE(keeper.is_busy());
  EXPECT_EQ(keeper.newest(), nullptr);
  EXPECT_EQ(kept, std::vector<Epoch>{2});
  EXPECT_EQ(stored(), 2u);
}

TEST_F(MapKeeperTest, OneThatIsOvertakenWhileItWaitsIsLeftOut) {
  for (const Epoch epoch : {2, 3, 4}) keep(epoch);
  EXPECT_EQ(keeper.newest()->epoch, 4u);
  turn();
  EXPECT_EQ(kept, (std::vector<Epoch>{2, 4}));
  EXPECT_EQ(store->calls(Call::kRecord), 2u);
}

TEST_F(MapKeeperTest, OneThatCannotBeWrittenIsServedAllTheSame) {
  store->fail_next(Call::kRecord, system_error(EIO));
  keep(2);
  turn();
  EXPECT_EQ(kept, std::vector<Epoch>{2});
  EXPECT_EQ(stored(), 0u);
}

TEST_F(MapKeeperTest, ADrainEndsAfterTheLastMap) {
  keep(2);
  keep(3);
  std::size_t kept_before = 0;
  keeper.drain([&] { kept_before = kept.size(); });
  turn();
  EXPECT_EQ(kept_before, 2u);
}

}  // namespace
}  // namespace lunar::osd
