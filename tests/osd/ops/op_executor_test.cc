// SPDX-License-Identifier: LGPL-2.1-or-later
// That a vector is all or nothing, and what LIST returns.
#include "osd/ops/op_executor.h"

#include "objecter/protocol/placement.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using OpExecutorTest = ExecutorFixture;

TEST_F(OpExecutorTest, FailedCompareLeavesTheObjectAndItsVersionAlone) {
  run(Vector("a").write(0, "old"));
  const ObjectVersion before = run(Vector("a").read(0, 1))->header.version;
  const OpResultRef result = run(Vector("a").compare(0, "new").write(0, "xxx"));
  EXPECT_EQ(result->header.error, OsdErrc::kMiscompare);
  EXPECT_EQ(result->header.version, before);
  EXPECT_EQ(content("a", 0, 3), "old");
}

TEST_F(OpExecutorTest, CompareAndWriteWritesWhenEqual) {
  run(Vector("a").write(0, "old"));
  EXPECT_EQ(error_of(Vector("a").compare(0, "old").write(0, "new")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 3), "new");
}

TEST_F(OpExecutorTest, AssertVersionHoldsUntilTheObjectChanges) {
  const ObjectVersion version = run(Vector("a").write(0, "1"))->header.version;
  EXPECT_EQ(error_of(Vector("a").assert_version(version).write(0, "2")), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector("a").assert_version(version).write(0, "3")), OsdErrc::kVersionMismatch);
  EXPECT_EQ(content("a", 0, 1), "2");
}

TEST_F(OpExecutorTest, AnErrorReplyCarriesNoData) {
  run(Vector("a").write(0, "abc"));
  const OpResultRef result = run(Vector("a").read(0, 3).compare(0, "xyz"));
  EXPECT_EQ(result->header.error, OsdErrc::kMiscompare);
  EXPECT_TRUE(result->data.empty());
  EXPECT_EQ(result->header.steps[0].data_length, 0u);
}

TEST_F(OpExecutorTest, AFailedReadIsAnIoErrorAndNothingChanges) {
  run(Vector("a").write(0, "1"));
  store->fail_next(FaultyStore::Call::kRead, system_error(EIO));
  EXPECT_EQ(error_of(Vector("a").read(0, 1).write(0, "2")), OsdErrc::kIoError);
  EXPECT_EQ(content("a", 0, 1), "1");
}

TEST_F(OpExecutorTest, ADamagedObjectIsReplacedAtTheVersionThatWasSeen) {
  run(Vector("a").write(0, "1"));
  store->lose({{1, "a"}});
  turn();
  const OpResultRef refused = run(Vector("a").read(0, 1));
  EXPECT_EQ(refused->header.error, OsdErrc::kIoError);
  const ObjectVersion seen = refused->header.version;
  const ObjectVersion other{seen.incarnation, seen.counter + 1};
  EXPECT_EQ(error_of(Vector("a").assert_version(other).add(OpCode::kDelete, 0, 0)),
            OsdErrc::kVersionMismatch);
  EXPECT_EQ(error_of(Vector("a").read(0, 1)), OsdErrc::kIoError);
  EXPECT_EQ(error_of(Vector("a").assert_version(seen).write(0, "2")), OsdErrc::kIoError);
  EXPECT_EQ(error_of(Vector("a").assert_version(seen).add(OpCode::kDelete, 0, 0)), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 1), std::string(1, '\0'));
}

// A header is made anew only when those who watch the old one are fenced.
TEST_F(OpExecutorTest, WhoWatchesADamagedObjectIsKnown) {
  run(Vector("a").write(0, "1"));
  store->lose({{1, "a"}});
  turn();
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kListWatchers, 0, 0)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kUnwatch, 0, 0)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWatch, 0, 0)), OsdErrc::kIoError);
}

TEST_F(OpExecutorTest, AfterTooManyDamagedObjectsAnyMayBeOneAndNoneIsRepaired) {
  run(Vector("a").write(0, "1"));
  std::vector<ObjectId> lost;
  for (std::size_t i = 0; i <= LossTable::kMaxDamaged; ++i) lost.push_back({1, std::to_string(i)});
  store->lose(lost);
  turn();
  EXPECT_EQ(error_of(Vector("a").read(0, 1)), OsdErrc::kIoError);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteFull, 0, 1, "2")), OsdErrc::kIoError);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kIoError);
}

class ListTest : public ExecutorFixture {
 protected:
  ListTest() {
    objecter::OsdMap map;
    objecter::PoolInfo pool_info;
    pool_info.id = 1;
    pool_info.pg_num = 1;
    pool_info.members.push_back({0});
    map.pools.push_back(pool_info);
    map_ = std::make_shared<const objecter::OsdMap>(map);
  }
  std::vector<std::string> list(const std::string& cursor, uint32_t limit) {
    Vector listing("");
    listing.add(OpCode::kList, 0, limit, "", 0, cursor);
    const ClientOpRef op = listing.op();
    op->map = map_;
    executor->submit(op);
    turn();
    const std::string data = text_of(*results.at(op->header.tid));
    return *objecter::decode_names(as_const_bytes(data));
  }
  objecter::OsdMapRef map_;
};

TEST_F(ListTest, GivesThePgsNamesInPages) {
  for (const char* name : {"c", "a", "b"}) run(Vector(name).write(0, "x"));
  EXPECT_EQ(list("a", 2), (std::vector<std::string>{"b", "c"}));
}

// It may be there again after a crash, and who deletes what there is must find it.
TEST_F(ListTest, ADamagedObjectIsThereWithoutItsFile) {
  for (const char* name : {"a", "c", "e"}) run(Vector(name).write(0, "x"));
  store->lose({{1, "b"}, {1, "c"}, {1, "f"}, {2, "d"}});
  turn();
  EXPECT_EQ(list("", 100), (std::vector<std::string>{"a", "b", "c", "e", "f"}));
  EXPECT_EQ(list("", 2), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(list("b", 2), (std::vector<std::string>{"c", "e"}));
  EXPECT_EQ(list("e", 2), (std::vector<std::string>{"f"}));
}

TEST_F(OpExecutorTest, ListOfAServerGivesTheNamesOfAllItsPgs) {
  objecter::OsdMap map;
  objecter::PoolInfo pool_info;
  pool_info.id = 1;
  pool_info.pg_num = 16;
  pool_info.members = {{0}, {1}};
  map.pools.push_back(pool_info);
  const auto published = std::make_shared<const objecter::OsdMap>(map);
  std::vector<std::string> expected;  // by server of PG 0
  const auto osd_of = [&](objecter::PgId pg) { return objecter::osd_of_pg(pool_info, pg); };
  for (int i = 0; i < 60; ++i) {
    const std::string name = "n" + std::to_string(100 + i);
    run(Vector(name).write(0, "x"));
    const auto pg = objecter::pg_of_object(pool_info, name);
    if (osd_of(pg) == osd_of({1, 0})) expected.push_back(name);
  }
  Vector list("");
  list.add(OpCode::kList, 0, 1000, "", 0, "");
  const ClientOpRef op = list.op();
  op->header.steps.front().flags = objecter::kOfServer;
  op->map = published;
  executor->submit(op);
  turn();
  const std::string data = text_of(*results.at(op->header.tid));
  EXPECT_EQ(*objecter::decode_names(as_const_bytes(data)), expected);
  EXPECT_LT(expected.size(), 60u);
}

}  // namespace
}  // namespace lunar::osd
