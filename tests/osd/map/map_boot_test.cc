// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_boot.h"

#include <gtest/gtest.h>

#include "osd/map/map_commands.h"

namespace lunar::osd {
namespace {

using objecter::OsdBoot;
using objecter::OsdErrc;
using objecter::OsdMap;

// A map in which osd.0 and osd.1 are up, each by its start 1.
class MapBootTest : public ::testing::Test {
 protected:
  MapBootTest() : map(make_first_map(Uuid::random(), 0, Uuid::random())) {
    for (int id = 0; id < 2; ++id) {
      BootChange change = boot_osd(map, boot_of(id, id == 0 ? map.osds[0].store : Uuid::random()));
      map = std::move(*change.next);
    }
  }
  OsdBoot boot_of(int id, Uuid store) const {
    OsdBoot boot;
    boot.osd = id;
    boot.fsid = map.fsid;
    boot.store = store;
    boot.incarnation = 1;
    boot.addresses = {msgr::Address::loopback(static_cast<uint16_t>(6800 + id))};
    return boot;
  }
  // osd.1 comes with this start, and remembers those.
  BootChange start(uint64_t incarnation, std::vector<uint64_t> previous) {
    OsdBoot boot = boot_of(1, map.find_osd(1)->store);
    boot.incarnation = incarnation;
    boot.previous = std::move(previous);
    BootChange change = boot_osd(map, boot);
    if (change.next) map = *change.next;
    return change;
  }

  OsdMap map;
};

TEST_F(MapBootTest, ANewServerIsInTheMapInOrderAndUp) {
  const BootChange change = boot_osd(map, boot_of(7, Uuid::random()));
  EXPECT_EQ(change.reply.error, OsdErrc::kOk);
  ASSERT_TRUE(change.next);
  EXPECT_EQ(change.next->osds.back().id, 7);
  EXPECT_TRUE(change.next->osds.back().up);
}

TEST_F(MapBootTest, AServerThatIsUpAsItSaysChangesNothing) {
  const BootChange change = boot_osd(map, boot_of(1, map.find_osd(1)->store));
  EXPECT_EQ(change.reply.error, OsdErrc::kOk);
  EXPECT_FALSE(change.next);
}

TEST_F(MapBootTest, AServerAtANewAddressIsThereInTheNextMap) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.addresses = {msgr::Address::loopback(7000)};
  const BootChange change = boot_osd(map, boot);
  ASSERT_TRUE(change.next);
  EXPECT_EQ(change.next->find_osd(1)->addresses, boot.addresses);
}

TEST_F(MapBootTest, AServerThatHasSeenALaterMapIsRefused) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.epoch = map.epoch + 1;
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kIncompatible);
}

TEST_F(MapBootTest, AStoreIsOneServersOnly) {
  EXPECT_EQ(boot_osd(map, boot_of(7, map.find_osd(1)->store)).reply.error, OsdErrc::kExists);
}

TEST_F(MapBootTest, BootOfAnotherClustersServerIsRefused) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.fsid = Uuid::random();
  const BootChange change = boot_osd(map, boot);
  EXPECT_EQ(change.reply.error, OsdErrc::kNotPermitted);
  EXPECT_NE(change.reply.message.find(boot.fsid.to_string()), std::string::npos);
}

TEST_F(MapBootTest, BootOfAnotherStoreUnderAKnownIdIsRefused) {
  const BootChange change = boot_osd(map, boot_of(1, Uuid::random()));
  EXPECT_EQ(change.reply.error, OsdErrc::kExists);
  EXPECT_NE(change.reply.message.find("osd.1"), std::string::npos);
}

TEST_F(MapBootTest, ALaterStartThatRemembersTheKnownOneIsAccepted) {
  EXPECT_EQ(start(5, {1}).reply.error, OsdErrc::kOk);
  EXPECT_EQ(map.find_osd(1)->incarnation, 5u);
  EXPECT_EQ(start(9, {5, 7}).reply.error, OsdErrc::kOk) << "7 was never heard of";
  EXPECT_EQ(start(12, {5, 7, 9}).reply.error, OsdErrc::kOk);
}

TEST_F(MapBootTest, TheSameStartMayComeAgain) {
  start(5, {1});
  EXPECT_EQ(start(5, {1}).reply.error, OsdErrc::kOk);
}

TEST_F(MapBootTest, AnOlderStartIsRefused) {
  start(5, {1});
  const BootChange change = start(4, {1});
  EXPECT_EQ(change.reply.error, OsdErrc::kExists);
  EXPECT_NE(change.reply.message.find("a copy of store"), std::string::npos)
      << change.reply.message;
}

TEST_F(MapBootTest, ACopyThatLacksTheKnownStartIsRefusedHoweverOftenItStarts) {
  start(5, {1});  // the original, after the copy was made
  EXPECT_EQ(start(6, {1}).reply.error, OsdErrc::kExists);
  EXPECT_EQ(start(99, {1, 6, 7}).reply.error, OsdErrc::kExists);
  EXPECT_EQ(start(100, {5}).reply.error, OsdErrc::kOk);
}

TEST_F(MapBootTest, NoPoolGetsAnIdThatAServerKnows) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.next_pool_id = map.next_pool_id + 5;
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kIncompatible)
      << "its key could use up all ids, step by step";
  map.osds[1].up = false;
  map.osds[1].incarnation = 0;  // as a restore leaves it
  const BootChange change = boot_osd(map, boot);
  ASSERT_TRUE(change.next);
  EXPECT_EQ(change.next->next_pool_id, boot.next_pool_id);
  EXPECT_EQ(change.next->unknown_pools,
            objecter::PoolIdSet({{map.next_pool_id, boot.next_pool_id}}))
      << "what it has of them is kept";
  boot.next_pool_id = 1;
  EXPECT_EQ(boot_osd(map, boot).next->next_pool_id, map.next_pool_id) << "it may know less";
}

// One that could use up all ids would keep everybody from making pools.
TEST_F(MapBootTest, PoolIdsThatAreMadeUpAreRefused) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.next_pool_id = OsdMap::kMaxPoolId;
  map.osds[1].incarnation = 0;
  const BootChange change = boot_osd(map, boot);
  EXPECT_EQ(change.reply.error, OsdErrc::kIncompatible);
  EXPECT_FALSE(change.next);
}

TEST_F(MapBootTest, TheMapNamesTheStoreAndItsClientUntilTheServerIsDown) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.kind = objecter::StoreKind::kRados;
  boot.rados_client = "v2:10.0.0.1:0/1";
  BootChange change = boot_osd(map, boot);
  ASSERT_TRUE(change.next);
  EXPECT_EQ(change.next->find_osd(1)->rados_client, boot.rados_client);
  mark_down(change.next->osds[1]);
  EXPECT_EQ(change.next->find_osd(1)->rados_client, "");
  EXPECT_EQ(change.next->find_osd(1)->kind, objecter::StoreKind::kRados);
}

// The one before would leave the map without being fenced.
TEST_F(MapBootTest, OneStartHasOneRadosClient) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.kind = objecter::StoreKind::kRados;
  boot.rados_client = "v2:10.0.0.1:0/1";
  map = *boot_osd(map, boot).next;
  boot.rados_client = "v2:10.0.0.9:0/9";
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kExists);
  boot.previous = {boot.incarnation};
  ++boot.incarnation;
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kOk) << "another start";
}

// With its key all ids could be used up while it is removed again and again.
TEST_F(MapBootTest, AServerThatNobodyKnowsBringsPoolIdsOnlyAfterARestore) {
  OsdBoot boot = boot_of(7, Uuid::random());
  boot.next_pool_id = map.next_pool_id + 5;
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kIncompatible);
  map.unknown_pools.append({map.next_pool_id, map.next_pool_id + 2});
  map.next_pool_id += 2;
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kOk);
}

// Else who stops the one would stop the other.
TEST_F(MapBootTest, ARadosClientIsOneServersOnly) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.kind = objecter::StoreKind::kRados;
  boot.rados_client = "v2:10.0.0.1:0/1";
  map = *boot_osd(map, boot).next;
  boot.osd = 7;
  boot.store = Uuid::random();
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kExists);
}

// Its RADOS client is fenced; of a store that is its own nobody has taken anything.
TEST_F(MapBootTest, AStartThatWasHeldDeadIsUpAgainOnlyIfItsStoreIsItsOwn) {
  for (const auto kind : {objecter::StoreKind::kFile, objecter::StoreKind::kRados}) {
    OsdBoot boot = boot_of(1, map.find_osd(1)->store);
    boot.kind = kind;
    OsdMap later = map;
    mark_down(later.osds[1]);
    const bool is_own = kind == objecter::StoreKind::kFile;
    EXPECT_EQ(boot_osd(later, boot).reply.error, is_own ? OsdErrc::kOk : OsdErrc::kFenced);
    boot.incarnation = 2;
    boot.previous = {1};
    EXPECT_EQ(boot_osd(later, boot).reply.error, OsdErrc::kOk) << "another start";
  }
}

}  // namespace
}  // namespace lunar::osd
