// SPDX-License-Identifier: LGPL-2.1-or-later
// What each op code does, and that a vector is all or nothing.
#include "osd/ops/op_executor.h"

#include "common/crc32c.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using OpExecutorTest = ExecutorFixture;

std::string zeros(std::size_t count) { return std::string(count, '\0'); }

TEST_F(OpExecutorTest, ReadReturnsWhatWasWrittenAndZeroesAround) {
  EXPECT_EQ(error_of(Vector("a").write(4, "data")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 2, 8), zeros(2) + "data" + zeros(2));
}

TEST_F(OpExecutorTest, ReadOfAnAbsentObjectIsZeroes) { EXPECT_EQ(content("none", 0, 3), zeros(3)); }

TEST_F(OpExecutorTest, ReadOfAWholeObjectIsAsLongAsItIs) {
  run(Vector("a").write(0, "whole"));
  EXPECT_EQ(content("a", 0, 0), "whole");
  EXPECT_FALSE(run(Vector("a").read(0, 0))->data.at(0).buffer) << "it is given back";
  run(Vector("large").write(0, std::string(4097, 'x')));
  EXPECT_TRUE(run(Vector("large").read(0, 0))->data.at(0).buffer) << "no copy";
  EXPECT_EQ(content("large", 0, 0), std::string(4097, 'x'));
  EXPECT_EQ(error_of(Vector("none").read(0, 0)), OsdErrc::kNoSuchObject);
}

TEST_F(OpExecutorTest, ReadDataStaysInThePoolBufferTheStoreFilled) {
  run(Vector("a").write(0, "data"));
  const OpResultRef result = run(Vector("a").read(0, 4096));
  ASSERT_EQ(result->data.size(), 1u);
  EXPECT_TRUE(result->data[0].buffer);
  EXPECT_EQ(result->header.steps[0].data_length, 4096u);
  EXPECT_EQ(result->header.bytes_inline, 4096u);
}

TEST_F(OpExecutorTest, SparseReadReturnsTheExtentsAndTheirBytes) {
  const std::string block(MemStore::kChunkBytes, 'x');
  run(Vector("a").write(2 * MemStore::kChunkBytes, block));
  const OpResultRef result =
      run(Vector("a").add(OpCode::kSparseRead, 0, 4 * MemStore::kChunkBytes));
  const std::string data = text_of(*result);
  ConstBytes rest = as_const_bytes(data);
  const auto map = objecter::decode_extent_map(rest);
  ASSERT_TRUE(map);
  ASSERT_EQ(map->extents.size(), 1u);
  EXPECT_EQ(map->extents[0],
            std::make_pair(uint64_t{2 * MemStore::kChunkBytes}, uint64_t{MemStore::kChunkBytes}));
  EXPECT_EQ(as_text(rest), block);
  EXPECT_EQ(result->header.steps[0].data_length, data.size());
}

TEST_F(OpExecutorTest, SparseReadOfAnAbsentObjectHasNoExtents) {
  const OpResultRef result = run(Vector("none").add(OpCode::kSparseRead, 0, 4096));
  EXPECT_EQ(result->header.error, OsdErrc::kOk);
  const std::string data = text_of(*result);
  ConstBytes rest = as_const_bytes(data);
  EXPECT_TRUE(objecter::decode_extent_map(rest)->extents.empty());
}

TEST_F(OpExecutorTest, MapExtentsShowsWhatIsAllocated) {
  run(Vector("a").write(0, "x"));
  const std::string data = text_of(*run(Vector("a").add(OpCode::kMapExtents, 0, 1u << 20)));
  ConstBytes rest = as_const_bytes(data);
  const auto map = objecter::decode_extent_map(rest);
  ASSERT_TRUE(map);
  ASSERT_EQ(map->extents.size(), 1u);
  EXPECT_EQ(map->extents[0].first, 0u);
}

TEST_F(OpExecutorTest, StatTellsTheSizeOrThatThereIsNone) {
  run(Vector("a").write(10, "x"));
  EXPECT_EQ(run(Vector("a").add(OpCode::kStat, 0, 0))->header.steps[0].value, 11u);
  EXPECT_EQ(error_of(Vector("none").add(OpCode::kStat, 0, 0)), OsdErrc::kNoSuchObject);
}

TEST_F(OpExecutorTest, CompareTellsTheFirstDifferenceInItsData) {
  run(Vector("a").write(8, "abcdef"));
  const OpResultRef result = run(Vector("a").compare(8, "abXdYf"));
  EXPECT_EQ(result->header.error, OsdErrc::kMiscompare);
  EXPECT_EQ(result->header.steps[0].value, 2u);
  EXPECT_EQ(error_of(Vector("a").compare(8, "abcdef")), OsdErrc::kOk);
}

TEST_F(OpExecutorTest, AbsentObjectComparesAsZeroes) {
  EXPECT_EQ(error_of(Vector("none").compare(0, zeros(4))), OsdErrc::kOk);
}

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

TEST_F(OpExecutorTest, WriteSameRepeatsItsPattern) {
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteSame, 2, 12, "abcd")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 15), zeros(2) + "abcdabcdabcd" + zeros(1));
}

TEST_F(OpExecutorTest, WriteSameLongerThanItsBufferIsWrittenInPieces) {
  const uint64_t length = 3 * 1000 * 512;  // no multiple of the buffer
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteSame, 0, length, std::string(512, 'p'))),
            OsdErrc::kOk);
  EXPECT_GT(store->calls(FaultyStore::Call::kWrite), 1u);
  EXPECT_EQ(content("a", 0, length + 1), std::string(length, 'p') + zeros(1));
}

TEST_F(OpExecutorTest, WriteSameOfZeroesFreesSpace) {
  run(Vector("a").write(0, std::string(MemStore::kChunkBytes, 'x')));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteSame, 0, MemStore::kChunkBytes, zeros(512))),
            OsdErrc::kOk);
  EXPECT_EQ(store->calls(FaultyStore::Call::kZero), 1u);
  EXPECT_EQ(content("a", 0, 4), zeros(4));
}

TEST_F(OpExecutorTest, OrWriteSetsBits) {
  run(Vector("a").write(0, "\x01\x02"));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kOrWrite, 0, 3, "\x10\x20\x40")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 3), "\x11\x22\x40");
}

TEST_F(OpExecutorTest, ZeroTruncateAndDelete) {
  run(Vector("a").write(0, "abcdef"));
  run(Vector("a").add(OpCode::kZero, 1, 2));
  EXPECT_EQ(content("a", 0, 6), "a" + zeros(2) + "def");
  run(Vector("a").add(OpCode::kTruncate, 0, 4));
  EXPECT_EQ(run(Vector("a").add(OpCode::kStat, 0, 0))->header.steps[0].value, 4u);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kStat, 0, 0)), OsdErrc::kNoSuchObject);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kOk);
}

TEST_F(OpExecutorTest, WriteFullReplacesTheObject) {
  run(Vector("a").write(0, "long content"));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteFull, 0, 5, "short")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 0), "short");
  EXPECT_EQ(store->calls(FaultyStore::Call::kReplace), 1u);
}

TEST_F(OpExecutorTest, XattrsAreKept) {
  EXPECT_EQ(error_of(Vector("a").write(0, "x").add(OpCode::kSetXattr, 0, 0, "value", 0, "name")),
            OsdErrc::kOk);
  EXPECT_EQ(text_of(*run(Vector("a").add(OpCode::kGetXattr, 0, 0, "", 0, "name"))), "value");
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kGetXattr, 0, 0, "", 0, "other")),
            OsdErrc::kNoSuchAttribute);
}

TEST_F(OpExecutorTest, FuaOfWhatTheStoreCannotDoStablyFlushes) {
  run(Vector("a").add(OpCode::kTruncate, 0, 4, "", objecter::kFua));
  EXPECT_EQ(store->calls(FaultyStore::Call::kFlush), 1u);
  EXPECT_EQ(ledger->marked_images(), 0u);
}

TEST_F(OpExecutorTest, AWriteThatFailsInTheMiddleSaysWhichStepsWereDone) {
  const ObjectVersion before = run(Vector("a").write(0, "1"))->header.version;
  store->fail_next(FaultyStore::Call::kZero, make_error_code(OsdErrc::kNoSpace));
  const OpResultRef result = run(Vector("a").write(0, "2").add(OpCode::kZero, 4, 4).write(8, "3"));
  EXPECT_EQ(result->header.error, OsdErrc::kNoSpace);
  EXPECT_EQ(result->header.steps[0].error, OsdErrc::kOk);
  EXPECT_EQ(result->header.steps[1].error, OsdErrc::kNoSpace);
  EXPECT_NE(result->header.version, before);
}

TEST_F(OpExecutorTest, AFailedReadIsAnIoErrorAndNothingChanges) {
  run(Vector("a").write(0, "1"));
  store->fail_next(FaultyStore::Call::kRead, system_error(EIO));
  EXPECT_EQ(error_of(Vector("a").read(0, 1).write(0, "2")), OsdErrc::kIoError);
  EXPECT_EQ(content("a", 0, 1), "1");
}

TEST_F(OpExecutorTest, MetadataIsReplacedAtOnceWithADurableVersion) {
  const OpResultRef made = run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 2, "v1"));
  EXPECT_EQ(made->header.version, (ObjectVersion{0, 1}));
  EXPECT_EQ(error_of(Vector("m").metadata().write(1, "2").write(2, "+")), OsdErrc::kOk);
  EXPECT_EQ(store->calls(FaultyStore::Call::kReplace), 2u);
  EXPECT_EQ(store->calls(FaultyStore::Call::kWrite), 0u);
  EXPECT_EQ(content("m", 0, 0), "v2+");
  EXPECT_EQ(ledger->marked_images(), 0u);
}

TEST_F(OpExecutorTest, MetadataVersionSurvivesDeleteAndRestart) {
  run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 1, "1"));
  run(Vector("m").metadata().add(OpCode::kDelete, 0, 0));
  executor.reset();
  versions = std::move(*ObjectVersions::load(*store, 8));
  make_executor();
  EXPECT_EQ(run(Vector("m").metadata().add(OpCode::kStat, 0, 0))->header.version,
            (ObjectVersion{0, 2}));
  EXPECT_EQ(run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 1, "1"))->header.version,
            (ObjectVersion{0, 3}));
}

TEST_F(OpExecutorTest, AMetadataObjectIsNotChangedAsData) {
  run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 1, "1"));
  EXPECT_EQ(error_of(Vector("m").write(0, "x")), OsdErrc::kInvalid);
  EXPECT_EQ(content("m", 0, 0), "1");
}

TEST_F(OpExecutorTest, MetadataThatCannotBeWrittenKeepsItsContent) {
  run(Vector("m").metadata().add(OpCode::kWriteFull, 0, 3, "old"));
  store->fail_next(FaultyStore::Call::kReplace, make_error_code(OsdErrc::kNoSpace));
  EXPECT_EQ(error_of(Vector("m").metadata().add(OpCode::kWriteFull, 0, 3, "new")),
            OsdErrc::kNoSpace);
  EXPECT_EQ(content("m", 0, 0), "old");
}

TEST_F(OpExecutorTest, ListGivesThePgsNamesInPages) {
  objecter::OsdMap map;
  objecter::PoolInfo pool_info;
  pool_info.id = 1;
  pool_info.pg_num = 1;
  pool_info.members.push_back({0});
  map.pools.push_back(pool_info);
  const auto published = std::make_shared<const objecter::OsdMap>(map);
  for (const char* name : {"c", "a", "b"}) run(Vector(name).write(0, "x"));
  Vector list("");
  list.add(OpCode::kList, 0, 2, "", 0, "a");
  const ClientOpRef op = list.op();
  op->map = published;
  executor->submit(op);
  turn();
  const std::string data = text_of(*results.at(op->header.tid));
  EXPECT_EQ(*objecter::decode_names(as_const_bytes(data)), (std::vector<std::string>{"b", "c"}));
}

}  // namespace
}  // namespace lunar::osd
