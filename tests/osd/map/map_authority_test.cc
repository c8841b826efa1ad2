// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_authority.h"

#include "osd/map/map_restore.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;

// Of an authority in RADOS. Fences when it is told to, or fails.
class FakeFencing final : public StoreFencing {
 public:
  objecter::StoreKind kind() const noexcept override { return objecter::StoreKind::kRados; }
  std::string client() const override { return "client/0"; }
  void fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) override {
    fenced.push_back(client);
    waiting.push_back(std::move(done));
  }
  void answer(Outcome<void> outcome = {}) {
    ASSERT_EQ(waiting.size(), 1u);
    auto done = std::move(waiting.front());
    waiting.clear();
    done(std::move(outcome));
  }
  std::vector<std::string> fenced;
  std::vector<UniqueFunction<void(Outcome<void>)>> waiting;
};

class MapAuthorityTest : public StoreFixture {
 protected:
  MapAuthorityTest() {
    first =
        std::make_shared<const objecter::OsdMap>(make_first_map(Uuid::random(), 0, Uuid::random()));
    make_authority(first);
  }
  void make_authority(const objecter::OsdMapRef& map) {
    authority = std::make_unique<MapAuthority>(
        *store, fencing, map,
        [this](objecter::OsdMapRef next) { published.push_back(std::move(next)); });
  }
  void boot(int id, Uuid uuid, const std::string& rados_client = {}, uint64_t incarnation = 1) {
    objecter::OsdBoot boot;
    boot.osd = id;
    boot.fsid = first->fsid;
    boot.store = uuid;
    boot.incarnation = incarnation;
    boot.previous = {1};
    boot.kind = rados_client.empty() ? objecter::StoreKind::kFile : objecter::StoreKind::kRados;
    boot.rados_client = rados_client;
    boot.addresses = {msgr::Address::loopback(static_cast<uint16_t>(6800 + id))};
    authority->boot(
        std::move(boot),
        [this](const objecter::OsdBoot&) -> Outcome<void> {
          if (boots_allowed-- > 0) return {};
          return failure(OsdErrc::kBusy, "too often");
        },
        [this](objecter::OsdBootReply reply) { boots.push_back(reply); });
  }
  void command(std::string text) {
    authority->command(std::move(text), [this](objecter::CommandReply reply) {
      replies.push_back(std::move(reply));
    });
  }
  void hold_dead(int id) {
    authority->osd_is_down(id, [this](const Outcome<void>& down) {
      downs.push_back(down ? std::string() : down.error().message);
    });
    turn();
  }
  // The authority and osd.1, in RADOS.
  void boot_in_rados() {
    boot(0, first->osds[0].store, "client/0");
    boot(1, other, "client/1");
    turn();
    ASSERT_EQ(published.size(), 2u);
  }
  const Uuid other = Uuid::random();
  FakeFencing fencing;
  std::vector<std::string> downs;  // why not; empty: it is down
  objecter::OsdMapRef first;
  std::unique_ptr<MapAuthority> authority;
  std::vector<objecter::OsdMapRef> published;
  std::vector<objecter::OsdBootReply> boots;
  int boots_allowed = 1000;
  std::vector<objecter::CommandReply> replies;
};

TEST_F(MapAuthorityTest, AMapIsDurableBeforeAnybodySeesIt) {
  store->hold(Call::kRecord);
  boot(0, first->osds[0].store);
  turn();
  EXPECT_TRUE(published.empty());
  EXPECT_TRUE(boots.empty());
  store->release(Call::kRecord);
  turn();
  ASSERT_EQ(published.size(), 1u);
  EXPECT_EQ(boots.at(0).epoch, published[0]->epoch);
  EXPECT_EQ((*load_map(*store))->epoch, published[0]->epoch);
}

TEST_F(MapAuthorityTest, ChangesMadeTogetherComeOneAfterTheOther) {
  boot(0, first->osds[0].store);
  boot(1, Uuid::random());
  command(R"({"prefix": "pool create", "pool": "p"})");
  command(R"({"prefix": "pool create", "pool": "p"})");
  turn();
  ASSERT_EQ(published.size(), 3u);
  EXPECT_EQ(published.back()->epoch, first->epoch + 3);
  EXPECT_EQ(published.back()->pools.at(0).members.size(), 2u);
  EXPECT_EQ(replies.at(0).epoch, published.back()->epoch);
  EXPECT_EQ(replies.at(1).error, OsdErrc::kExists);
}

TEST_F(MapAuthorityTest, OneBootOfAServerWaitsHoweverManyCome) {
  store->hold(Call::kRecord);
  boot(0, first->osds[0].store);
  for (uint64_t incarnation = 1; incarnation <= 100; ++incarnation) boot(1, other, {}, incarnation);
  boot(2, Uuid::random());
  EXPECT_EQ(authority->waiting(), 2u);
  EXPECT_EQ(boots.size(), 99u);
  EXPECT_EQ(boots.back().error, OsdErrc::kBusy);
  store->release(Call::kRecord);
  turn();
  ASSERT_EQ(published.size(), 3u);
  EXPECT_EQ(published.back()->find_osd(1)->incarnation, 100u) << "the last one that came";
}

TEST_F(MapAuthorityTest, WhetherABootMayChangeTheMapIsAskedWhenItsTurnHasCome) {
  boots_allowed = 1;
  store->hold(Call::kRecord);
  boot(1, other);
  boot(2, Uuid::random());
  EXPECT_EQ(boots_allowed, 0);
  store->release(Call::kRecord);
  turn();
  ASSERT_EQ(boots.size(), 2u);
  EXPECT_EQ(boots[0].error, OsdErrc::kOk);
  EXPECT_EQ(boots[1].error, OsdErrc::kBusy);
  EXPECT_EQ(boots[1].message, "too often");
  boot(1, other);
  turn();
  EXPECT_EQ(boots.at(2).error, OsdErrc::kOk) << "it changes nothing, and nobody is asked";
}

TEST_F(MapAuthorityTest, WhoIsSaidToBeDownOftenWaitsOnceAndEachIsTold) {
  boot(0, first->osds[0].store);
  boot(1, other);
  turn();
  store->hold(Call::kRecord);
  command(R"({"prefix": "pool create", "pool": "p"})");
  for (int i = 0; i < 50; ++i) hold_dead(1);
  EXPECT_EQ(authority->waiting(), 1u);
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(downs, std::vector<std::string>(50));
}

TEST_F(MapAuthorityTest, CommandsThatWaitAreBoundedAndInNoBootsWay) {
  store->hold(Call::kRecord);
  boot(0, first->osds[0].store);
  for (std::size_t i = 0; i < MapAuthority::kMaxCommands + 3; ++i)
    command(R"({"prefix": "status"})");
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(replies[0].error, OsdErrc::kBusy);
  boot(1, other);
  EXPECT_TRUE(boots.empty());
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(boots.size(), 2u);
  EXPECT_EQ(replies.size(), MapAuthority::kMaxCommands + 3);
}

TEST_F(MapAuthorityTest, AMapThatCannotBeWrittenIsNotPublished) {
  store->fail_next(Call::kRecord, system_error(EIO));
  boot(0, first->osds[0].store);
  turn();
  EXPECT_TRUE(published.empty());
  EXPECT_EQ(boots.at(0).error, OsdErrc::kIoError);
  EXPECT_EQ(authority->map(), first);
}

TEST_F(MapAuthorityTest, AServerThatIsGoneIsDown) {
  boot(0, first->osds[0].store);
  turn();
  authority->osd_is_down(0, [](const Outcome<void>&) {});
  authority->osd_is_down(0, [](const Outcome<void>&) {});
  authority->osd_is_down(5, [](const Outcome<void>&) {});
  turn();
  ASSERT_EQ(published.size(), 2u);
  EXPECT_FALSE(published.back()->osds[0].up);
}

// The authority's disk was lost: its map is made anew, and osd.1 is known by the backup alone.
class RestoredAuthorityTest : public MapAuthorityTest {
 protected:
  RestoredAuthorityTest() {
    boot(0, first->osds[0].store);
    turn();
    make_authority(published.at(0));
    objecter::OsdMap before = *published[0];
    before.osds.push_back({1, other, {}, false, 1});
    backup = objecter::to_json(before);
    published.clear();
  }
  void restore() {
    command(R"({"prefix": "map restore", "yes_i_really_mean_it": true, "map": )" + backup + "}");
  }
  static constexpr objecter::Epoch kKnown = 5 * kRestoreGap;
  std::string backup;
};

// A backup that is restored for the second time is older by a whole gap than what servers have.
TEST_F(RestoredAuthorityTest, ARestoredMapIsLaterThanAnyThatAServerHas) {
  authority->on_known_epoch(1, kKnown);
  turn();
  EXPECT_TRUE(published.empty());  // what was not restored may be an old copy
  restore();
  turn();
  ASSERT_EQ(published.size(), 1u);
  EXPECT_GT(published[0]->epoch, kKnown);
}

TEST_F(RestoredAuthorityTest, ARestoredMapBecomesLaterForAServerThatComesAfterwards) {
  restore();
  turn();
  ASSERT_EQ(published.size(), 1u);
  const objecter::Epoch restored = published[0]->epoch;
  authority->on_known_epoch(0, restored + 3);  // that one has come since
  authority->on_known_epoch(1, restored);      // it has it
  authority->on_known_epoch(1, restored + 7);
  authority->on_known_epoch(1, restored + 7);
  authority->on_known_epoch(1, ~objecter::Epoch{0});  // nobody has that
  turn();
  ASSERT_EQ(published.size(), 2u);
  EXPECT_GT(published[1]->epoch, restored + 7);
  EXPECT_EQ(published[1]->pools, published[0]->pools);
  EXPECT_EQ((*load_map(*store))->epoch, published[1]->epoch);
}

TEST_F(RestoredAuthorityTest, ARestoredMapBecomesLaterForAServerThatComesWhileItIsWritten) {
  store->hold(Call::kRecord);
  restore();
  turn();
  authority->on_known_epoch(1, kKnown);
  store->release(Call::kRecord);
  turn();
  ASSERT_EQ(published.size(), 2u);
  EXPECT_GT(published[1]->epoch, kKnown);
}

TEST_F(RestoredAuthorityTest, ARestoredMapBecomesLaterAfterARestart) {
  restore();
  turn();
  make_authority(published.at(0));
  authority->on_known_epoch(1, published[0]->epoch + 7);
  turn();
  ASSERT_EQ(published.size(), 2u);
  EXPECT_GT(published[1]->epoch, published[0]->epoch + 7);
}

// Its store was put back to an older state, long after a restore: it lacks what was made since.
TEST_F(RestoredAuthorityTest, AnOldCopyOfARestoredMapIsNoLaterOne) {
  restore();
  turn();
  boot(1, other);
  turn();
  ASSERT_EQ(published.size(), 2u);
  authority->on_known_epoch(1, published[1]->epoch + 7);
  turn();
  EXPECT_EQ(published.size(), 2u);
}

TEST_F(MapAuthorityTest, AMapOfAnotherVersionIsRefusedWithASentence) {
  std::vector<std::byte> record;
  objecter::encode(*first, record);
  record[4] ^= std::byte{0xff};
  store->put_record(kMapRecord, record, [](std::error_code) {});
  turn();
  const auto loaded = load_map(*store);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("cluster map in the store"), std::string::npos);
}

TEST_F(MapAuthorityTest, AStoreWithoutAMapSaysSo) {
  const auto loaded = load_map(*store);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, OsdErrc::kNoSuchObject);
}

// --- servers in RADOS ---

TEST_F(MapAuthorityTest, ADeadServerOfRadosIsFencedBeforeAnyMapSaysThatItIsDown) {
  boot_in_rados();
  hold_dead(1);
  EXPECT_EQ(fencing.fenced, std::vector<std::string>{"client/1"});
  EXPECT_EQ(published.size(), 2u);
  EXPECT_TRUE((*load_map(*store))->osds[1].up);
  fencing.answer();
  turn();
  ASSERT_EQ(published.size(), 3u);
  EXPECT_FALSE(published.back()->osds[1].up);
  EXPECT_EQ(downs, std::vector<std::string>{""});
}

TEST_F(MapAuthorityTest, NothingMovesIfTheDeadServerCannotBeFenced) {
  boot_in_rados();
  hold_dead(1);
  fencing.answer(failure(OsdErrc::kIoError, "no monitor"));
  turn();
  EXPECT_EQ(published.size(), 2u);
  EXPECT_EQ(downs, std::vector<std::string>{"no monitor"});
  hold_dead(1);
  fencing.answer();
  turn();
  EXPECT_EQ(published.size(), 3u) << "what was not certain is done again";
  EXPECT_EQ(fencing.fenced.size(), 2u);
}

TEST_F(MapAuthorityTest, WhoeverTakesAServerOutOfTheMapHasItFenced) {
  boot_in_rados();
  command(R"({"prefix": "osd down", "osd": 1})");
  turn();
  EXPECT_TRUE(replies.empty());
  fencing.answer();
  turn();
  EXPECT_EQ(replies.at(0).error, OsdErrc::kOk);
  EXPECT_FALSE(published.back()->osds[1].up);
}

// Nobody else could do it, and it would write on.
TEST_F(MapAuthorityTest, TheAuthorityInRadosIsNotTakenOutOfTheMap) {
  boot_in_rados();
  command(R"({"prefix": "osd down", "osd": 0})");
  turn();
  EXPECT_EQ(replies.at(0).error, OsdErrc::kInvalid);
  EXPECT_TRUE(fencing.fenced.empty());
  EXPECT_EQ(published.size(), 2u);
}

TEST_F(MapAuthorityTest, AnotherStartOfAStoreHasFencedTheLastOneItself) {
  boot_in_rados();
  boot(1, other, "client/2", 2);
  turn();
  EXPECT_TRUE(fencing.fenced.empty());
  EXPECT_EQ(published.back()->osds[1].rados_client, "client/2");
}

TEST_F(MapAuthorityTest, AServerThatIsStartedAnewInTimeIsNotDown) {
  boot_in_rados();
  store->hold(Call::kRecord);
  boot(1, other, "client/2", 2);
  turn();
  hold_dead(1);  // its old session, while the new start is being written
  store->release(Call::kRecord);
  turn();
  EXPECT_TRUE(fencing.fenced.empty());
  EXPECT_TRUE(published.back()->osds[1].up);
  EXPECT_EQ(downs, std::vector<std::string>{""});
}

TEST_F(MapAuthorityTest, AnAuthorityWithAStoreOfItsOwnCanFenceNobody) {
  boot(0, first->osds[0].store);
  boot(1, other, "client/1");
  turn();
  MapAuthority own(*store, *store, published.back(), [](objecter::OsdMapRef) { FAIL(); });
  std::string why;
  own.osd_is_down(1, [&](const Outcome<void>& down) { why = down.error().message; });
  turn();
  EXPECT_NE(why.find("no store of rados"), std::string::npos) << why;
}

}  // namespace
}  // namespace lunar::osd
