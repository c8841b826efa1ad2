// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/loss_table.h"

#include <optional>

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;

class LossTableTest : public StoreFixture {
 protected:
  void save() {
    table.save([](std::error_code error) { EXPECT_FALSE(error); });
    turn();
  }
  ServerRecords::RecordValue record() const { return *store->get_record(LossTable::kRecord); }

  LossTable table{*store};
  const ClientName a{"client.a", "host"};
  const ClientName b{"client.b", "host"};
};

TEST_F(LossTableTest, ALossChangesTheVerifier) {
  EXPECT_EQ(table.verifier(), 0u);
  table.lose({});
  const uint64_t first = table.verifier();
  EXPECT_NE(first, 0u);
  EXPECT_TRUE(table.losses().empty());
  table.lose({5});
  EXPECT_NE(table.verifier(), first);
  EXPECT_EQ(table.losses().at(5).id, table.verifier());
}

TEST_F(LossTableTest, EachClientHasToHearOfIt) {
  table.lose({5});
  const uint64_t loss = table.verifier();
  EXPECT_EQ(table.unheard_by(5, a), loss);
  EXPECT_EQ(table.unheard_by(6, a), 0u);
  EXPECT_TRUE(table.add_heard(5, a, loss));
  EXPECT_EQ(table.unheard_by(5, a), 0u);
  EXPECT_EQ(table.unheard_by(5, b), loss);
}

TEST_F(LossTableTest, ThatAClientHasHeardIsNewsOnce) {
  table.lose({5});
  EXPECT_TRUE(table.add_heard(5, a, table.verifier()));
  EXPECT_FALSE(table.add_heard(5, a, table.verifier()));
  EXPECT_FALSE(table.add_heard(6, a, table.verifier())) << "it has lost nothing";
}

TEST_F(LossTableTest, HearingOfOneLossIsNotHearingOfTheNext) {
  table.lose({5});
  const uint64_t first = table.verifier();
  table.add_heard(5, a, first);
  table.lose({5});
  EXPECT_FALSE(table.add_heard(5, a, first));
  EXPECT_EQ(table.unheard_by(5, a), table.verifier());
}

TEST_F(LossTableTest, AnotherImagesLossLeavesThisOneAlone) {
  table.lose({5});
  const uint64_t first = table.verifier();
  table.add_heard(5, a, first);
  table.lose({6});
  EXPECT_EQ(table.unheard_by(5, a), 0u);
  EXPECT_EQ(table.unheard_by(5, b), first);
}

TEST_F(LossTableTest, OfManyClientsTheOldestIsToldAgain) {
  table.lose({5});
  const uint64_t loss = table.verifier();
  table.add_heard(5, a, loss);
  for (std::size_t i = 0; i < LossTable::kMaxToldClients; ++i)
    table.add_heard(5, {"client.a", std::to_string(i)}, loss);
  EXPECT_EQ(table.losses().at(5).told.size(), LossTable::kMaxToldClients);
  EXPECT_EQ(table.unheard_by(5, a), loss);
}

TEST_F(LossTableTest, TheRecordHasEverything) {
  table.lose({5, 6});
  table.add_heard(5, a, table.verifier());
  table.add_damaged({1, "broken"});
  save();
  LossTable read(*store);
  ASSERT_TRUE(read.decode(record()));
  EXPECT_EQ(read.verifier(), table.verifier());
  EXPECT_EQ(read.unheard_by(5, a), 0u);
  EXPECT_EQ(read.unheard_by(6, a), table.verifier());
  EXPECT_TRUE(read.is_damaged({1, "broken"}));
}

TEST_F(LossTableTest, InARecordOfTheFirstVersionTheVerifierIsTheLoss) {
  std::vector<std::byte> old;
  ByteWriter writer(old);
  writer.put(uint16_t{1});
  writer.put(uint64_t{99});
  writer.put(uint32_t{1});
  writer.put(ImageId{5});
  writer.put(uint32_t{1});
  writer.put_string(a.to_string());
  writer.put(uint32_t{0});
  ASSERT_TRUE(table.decode(old));
  EXPECT_EQ(table.unheard_by(5, a), 0u);
  EXPECT_EQ(table.unheard_by(5, b), 99u);
}

TEST_F(LossTableTest, ADamagedRecordIsRefused) {
  table.lose({5});
  save();
  auto damaged = record();
  damaged.pop_back();
  EXPECT_FALSE(LossTable(*store).decode(damaged));
  damaged = record();
  damaged[0] = std::byte{9};
  EXPECT_FALSE(LossTable(*store).decode(damaged)) << "another version";
}

TEST_F(LossTableTest, ARepairedObjectIsDamagedNoMore) {
  table.add_damaged({1, "broken"});
  save();
  std::optional<std::error_code> repaired;
  table.repaired({1, "broken"}, [&](std::error_code error) { repaired = error; });
  turn();
  EXPECT_EQ(repaired, std::error_code());
  EXPECT_FALSE(table.is_damaged({1, "broken"}));
  LossTable read(*store);
  ASSERT_TRUE(read.decode(record()));
  EXPECT_FALSE(read.is_damaged({1, "broken"}));
}

TEST_F(LossTableTest, ARepairThatIsNotRecordedLeavesTheObjectDamaged) {
  table.add_damaged({1, "broken"});
  store->fail_next(Call::kRecord, system_error(EIO));
  table.repaired({1, "broken"}, [](std::error_code error) { EXPECT_TRUE(error); });
  table.add_damaged({1, "another"});
  save();  // waits for the first
  EXPECT_TRUE(table.is_damaged({1, "broken"}));
  LossTable read(*store);
  ASSERT_TRUE(read.decode(record()));
  EXPECT_TRUE(read.is_damaged({1, "broken"}));
}

TEST_F(LossTableTest, MoreDamagedObjectsThanCanBeKeptAreNotedForGood) {
  for (std::size_t i = 0; i < LossTable::kMaxDamaged; ++i)
    table.add_damaged({1, std::to_string(i)});
  EXPECT_FALSE(table.has_too_many_damaged());
  EXPECT_FALSE(table.is_damaged({1, "one more"}));
  table.add_damaged({1, "one more"});
  EXPECT_TRUE(table.has_too_many_damaged());
  EXPECT_TRUE(table.is_damaged({1, "one more"}));
  save();
  LossTable read(*store);
  ASSERT_TRUE(read.decode(record()));
  EXPECT_TRUE(read.has_too_many_damaged());
  EXPECT_TRUE(read.is_damaged({1, "one more"}));
  EXPECT_EQ(read.damaged().size(), LossTable::kMaxDamaged);
}

}  // namespace
}  // namespace lunar::osd
