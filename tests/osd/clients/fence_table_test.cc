// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/fence_table.h"

#include <algorithm>
#include <functional>

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

class FenceTableTest : public StoreFixture {
 protected:
  FenceTableTest() { load(); }
  void load() { fences = std::move(*FenceTable::load(*store)); }
  void claim(const ClientName& client, uint64_t nonce) {
    fences->claim(client, nonce, [](std::error_code error) { EXPECT_FALSE(error); });
    turn();
  }
  // Tools, each an instance of its own, that come, write and go.
  void pass_tools(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const ClientName tool{"client.admin", "host:" + std::to_string(next_tool_++)};
      fences->on_arrived(tool);
      fences->claim(tool, 1, [](std::error_code) {});
      fences->on_left(tool);
    }
    turn();
  }
  static constexpr std::size_t kMany = FenceTable::kMaxClients + 100;
  const ClientName gateway{"client.gw", "host/tgtd"};
  std::unique_ptr<FenceTable> fences;
  std::size_t next_tool_ = 0;
};

// All that are asked for during one write of the record end together, each with a look at the
// table.
TEST_F(FenceTableTest, TakeoversOfAnEntityUnderWayAreBounded) {
  store->hold(FaultyStore::Call::kRecord);
  std::vector<std::error_code> results;
  const auto take_over = [&](const std::string& entity, std::size_t number) {
    fences->replace({entity, "x" + std::to_string(number)}, 5,
                    [&](std::error_code error) { results.push_back(error); });
  };
  constexpr std::size_t kMost = FenceTable::kMaxTakeoversUnderWay;
  for (std::size_t i = 0; i < kMost + 10; ++i) take_over("client.evil", i);
  take_over("client.evil", 0);  // another of its images
  take_over("client.gw", 0);
  store->release(FaultyStore::Call::kRecord);
  turn();
  ASSERT_EQ(results.size(), kMost + 12);
  EXPECT_EQ(std::count(results.begin(), results.end(), std::error_code{}), kMost + 2);
  EXPECT_EQ(std::count(results.begin(), results.end(), objecter::OsdErrc::kBusy), 10);
  EXPECT_FALSE(fences->allows({"client.gw", "x0"}, 5));
  results.clear();
  take_over("client.evil", kMost + 5);
  turn();
  EXPECT_EQ(results, std::vector<std::error_code>{{}}) << "once they are written";
}

TEST_F(FenceTableTest, RemembersAClientThatIsThereAmongManyOthers) {
  fences->on_arrived(gateway);
  claim(gateway, 5);
  pass_tools(kMany);
  EXPECT_FALSE(fences->allows(gateway, 4));
  EXPECT_EQ(fences->newest_nonce(gateway), 5u);
}

TEST_F(FenceTableTest, RemembersLongestWhoseOlderStartsMayComeBack) {
  claim(gateway, 5);
  claim(gateway, 6);
  pass_tools(kMany);
  EXPECT_FALSE(fences->allows(gateway, 5));
  load();
  pass_tools(kMany);
  EXPECT_FALSE(fences->allows(gateway, 5)) << "over a restart too";
}

TEST_F(FenceTableTest, ForgetsTheLongestUnseenOfMany) {
  const ClientName tool{"client.admin", "host/tool"};
  claim(tool, 5);
  pass_tools(10);
  fences->on_arrived(tool);
  fences->on_left(tool);  // seen after those
  pass_tools(FenceTable::kMaxClients - 5);
  EXPECT_EQ(fences->newest_nonce(tool), 5u);
  EXPECT_EQ(fences->newest_nonce({"client.admin", "host:0"}), 0u);
  pass_tools(kMany);
  EXPECT_EQ(fences->newest_nonce(tool), 0u) << "the table is bounded";
}

TEST_F(FenceTableTest, NoEntityMakesThoseOfAnotherBeForgotten) {
  claim(gateway, 5);
  pass_tools(2 * kMany);
  EXPECT_EQ(fences->newest_nonce(gateway), 5u);
  EXPECT_FALSE(fences->allows(gateway, 4));
}

TEST_F(FenceTableTest, AnEntityHasABoundedNumberOfFences) {
  const auto fence = [this](const ClientName& client) {
    std::error_code result = make_error_code(objecter::OsdErrc::kTimedOut);
    fences->fence(client, 1, [&](std::error_code error) { result = error; });
    turn();
    return result;
  };
  for (std::size_t i = 0; i < FenceTable::kMaxFencesOfEntity; ++i)
    ASSERT_FALSE(fence({"client.evil", "host/" + std::to_string(i)}));
  EXPECT_EQ(fence({"client.evil", "host/more"}), objecter::OsdErrc::kBusy);
  EXPECT_FALSE(fence({"client.evil", "host/0"})) << "again";
  EXPECT_FALSE(fence(gateway));
  load();
  EXPECT_FALSE(fences->allows(gateway, 1));
}

// Entries of starts that never were grew without a bound, and forgetting them took minutes.
TEST_F(FenceTableTest, FencingWhatNeverWasLeavesNothing) {
  for (int i = 0; i < 10; ++i)
    fences->fence({"client.evil", "host/" + std::to_string(i)}, 0, [](std::error_code) {});
  turn();
  EXPECT_EQ(fences->to_json(), "[]");
}

TEST_F(FenceTableTest, OnlyANewerStartEndsATakeover) {
  claim(gateway, 5);
  fences->replace(gateway, 5, [](std::error_code error) { EXPECT_FALSE(error); });
  fences->fence(gateway, 5, [](std::error_code) {});
  fences->unfence(gateway, [](std::error_code) {});
  turn();
  EXPECT_FALSE(fences->allows(gateway, 5));
  EXPECT_TRUE(fences->allows(gateway, 6));
  EXPECT_EQ(fences->replaced_up_to(gateway), 5u);
  load();
  fences->unfence(gateway, [](std::error_code) {});
  turn();
  EXPECT_FALSE(fences->allows(gateway, 5)) << "after a restart too";
  pass_tools(kMany);
  EXPECT_FALSE(fences->allows(gateway, 5)) << "it is remembered as one that may come back";
  for (std::size_t i = 0; i < kMany; ++i) {
    fences->replace({"client.gw", "host/" + std::to_string(i)}, 1,
                    [](std::error_code error) { EXPECT_FALSE(error); });
    turn();
  }
}

TEST_F(FenceTableTest, AnEntityThatIsFencedStaysOutWithAllThatItMayEverHave) {
  claim(gateway, 5);
  fences->fence_entity("client.gw", [](std::error_code error) { EXPECT_FALSE(error); });
  turn();
  load();  // over a restart too
  EXPECT_FALSE(fences->allows(gateway, 5));
  EXPECT_FALSE(fences->allows(gateway, 6)) << "a later start";
  EXPECT_FALSE(fences->allows({"client.gw", "host/another"}, 1));
  EXPECT_TRUE(fences->allows({"client.other", "host/tgtd"}, 1));
  fences->unfence_entity("client.gw", [](std::error_code error) { EXPECT_FALSE(error); });
  turn();
  load();
  EXPECT_TRUE(fences->allows(gateway, 5));
}

TEST_F(FenceTableTest, ARecordWithoutFencesOfEntitiesIsOneThatEarlierBuildsRead) {
  claim(gateway, 5);
  const auto record = store->get_record("clients");
  ASSERT_TRUE(record);
  EXPECT_EQ(ByteReader(*record).get<uint16_t>(), 3);
}

TEST_F(FenceTableTest, AFenceOfAnEntityThatCannotBeRecordedIsNone) {
  claim(gateway, 5);
  store->fail_next(FaultyStore::Call::kRecord, make_error_code(std::errc::io_error));
  std::error_code result;
  fences->fence_entity("client.gw", [&](std::error_code error) { result = error; });
  turn();
  EXPECT_TRUE(result);
  EXPECT_TRUE(fences->allows(gateway, 5));
}

// Another record was written, with what had failed in it, before that was taken back.
TEST_F(FenceTableTest, AFenceThatCouldNotBeRecordedIsInNoLaterRecord) {
  using Change = std::function<void(StoreDone)>;
  const ClientName other{"client.gw", "host/other"};
  const std::vector<Change> changes = {
      [&](StoreDone done) { fences->fence(gateway, 5, std::move(done)); },
      [&](StoreDone done) { fences->replace(gateway, 5, std::move(done)); },
      [&](StoreDone done) { fences->fence_entity("client.gw", std::move(done)); },
  };
  claim(gateway, 5);
  for (const Change& change : changes) {
    store->fail_next(FaultyStore::Call::kRecord, make_error_code(std::errc::io_error));
    std::error_code result;
    change([&](std::error_code error) { result = error; });
    EXPECT_FALSE(fences->allows(gateway, 5)) << "it is in force from the call on";
    claim(other, 1);  // while that is written: it waits
    EXPECT_TRUE(result);
    EXPECT_TRUE(fences->allows(gateway, 5));
    load();
    EXPECT_EQ(fences->newest_nonce(other), 1u);
    EXPECT_TRUE(fences->allows(gateway, 5));
  }
}

TEST_F(FenceTableTest, AFenceHoldsUntilItIsLiftedDurably) {
  const auto lift = [&] {
    std::error_code result;
    for (int i = 0; i < 2; ++i) {  // that of the client, and that of the entity
      const auto done = [&](std::error_code error) { result = error; };
      if (i == 0)
        fences->unfence(gateway, done);
      else
        fences->unfence_entity("client.gw", done);
      EXPECT_FALSE(fences->allows(gateway, 5));
    }
    turn();
    claim({"client.other", "host"}, 1);  // one more record
    return result;
  };
  fences->fence(gateway, 5, [](std::error_code) {});
  fences->fence_entity("client.gw", [](std::error_code) {});
  turn();
  store->fail_next(FaultyStore::Call::kRecord, make_error_code(std::errc::io_error), 2);
  EXPECT_TRUE(lift());
  EXPECT_FALSE(fences->allows(gateway, 5));
  EXPECT_TRUE(fences->is_entity_fenced("client.gw"));
  EXPECT_FALSE(lift());
  EXPECT_TRUE(fences->allows(gateway, 5));
  load();
  EXPECT_TRUE(fences->allows(gateway, 5));
}

TEST_F(FenceTableTest, OfTwoChangesOfAFenceThatFailNothingStays) {
  store->fail_next(FaultyStore::Call::kRecord, make_error_code(std::errc::io_error), 2);
  fences->fence_entity("client.gw", [](std::error_code) {});
  fences->unfence_entity("client.gw", [](std::error_code) {});
  turn();
  EXPECT_TRUE(fences->allows(gateway, 5));
  EXPECT_EQ(fences->to_json(), "[]");
}

TEST_F(FenceTableTest, FencesOfEntitiesAreBounded) {
  std::vector<std::error_code> results;
  for (std::size_t i = 0; i <= FenceTable::kMaxFencedEntities; ++i)
    fences->fence_entity("client." + std::to_string(i),
                         [&](std::error_code error) { results.push_back(error); });
  fences->fence_entity("client.0", [&](std::error_code error) { results.push_back(error); });
  turn();
  ASSERT_EQ(results.size(), FenceTable::kMaxFencedEntities + 2);
  EXPECT_EQ(results[FenceTable::kMaxFencedEntities], objecter::OsdErrc::kBusy);
  EXPECT_FALSE(results.back()) << "it is fenced already";
}

// Version 2 did not say whose a fence was.
TEST_F(FenceTableTest, AFenceOfAnEarlierRecordIsTakenForATakeovers) {
  std::vector<std::byte> record;
  ByteWriter writer(record);
  writer.put(uint16_t{2});
  writer.put(uint32_t{1});
  writer.put_string(gateway.entity);
  writer.put_string(gateway.instance);
  for (const uint64_t number : {4u, 5u, 1u}) writer.put(number);  // newest, fenced_up_to, used
  writer.put(false);
  store->put_record("clients", std::move(record),
                    [](std::error_code error) { EXPECT_FALSE(error); });
  turn();
  load();
  EXPECT_EQ(fences->newest_nonce(gateway), 4u);
  fences->unfence(gateway, [](std::error_code) {});
  turn();
  EXPECT_FALSE(fences->allows(gateway, 5));
  EXPECT_TRUE(fences->allows(gateway, 6));
}

TEST_F(FenceTableTest, NeverForgetsAnOperatorsFence) {
  fences->fence(gateway, 9, [](std::error_code) {});
  turn();
  pass_tools(kMany);
  EXPECT_FALSE(fences->allows(gateway, 9));
}

}  // namespace
}  // namespace lunar::osd
