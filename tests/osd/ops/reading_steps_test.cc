// SPDX-License-Identifier: LGPL-2.1-or-later
// The steps that check or return something, by the executor.
#include "osd/ops/reading_steps.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using ReadingStepsTest = ExecutorFixture;

TEST_F(ReadingStepsTest, ReadReturnsWhatWasWrittenAndZeroesAround) {
  EXPECT_EQ(error_of(Vector("a").write(4, "data")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 2, 8), zeros(2) + "data" + zeros(2));
}

TEST_F(ReadingStepsTest, ReadOfAnAbsentObjectIsZeroes) {
  EXPECT_EQ(content("none", 0, 3), zeros(3));
}

TEST_F(ReadingStepsTest, ReadOfAWholeObjectIsAsLongAsItIs) {
  run(Vector("a").write(0, "whole"));
  EXPECT_EQ(content("a", 0, 0), "whole");
  EXPECT_FALSE(run(Vector("a").read(0, 0))->data.at(0).buffer) << "it is given back";
  run(Vector("large").write(0, std::string(4097, 'x')));
  EXPECT_TRUE(run(Vector("large").read(0, 0))->data.at(0).buffer) << "no copy";
  EXPECT_EQ(content("large", 0, 0), std::string(4097, 'x'));
  EXPECT_EQ(error_of(Vector("none").read(0, 0)), OsdErrc::kNoSuchObject);
}

TEST_F(ReadingStepsTest, ReadDataStaysInThePoolBufferTheStoreFilled) {
  run(Vector("a").write(0, "data"));
  const OpResultRef result = run(Vector("a").read(0, 4096));
  ASSERT_EQ(result->data.size(), 1u);
  EXPECT_TRUE(result->data[0].buffer);
  EXPECT_EQ(result->header.steps[0].data_length, 4096u);
  EXPECT_EQ(result->header.bytes_inline, 4096u);
}

TEST_F(ReadingStepsTest, SparseReadReturnsTheExtentsAndTheirBytes) {
  const std::string block(MemStore::kPageBytes, 'x');
  run(Vector("a").write(2 * MemStore::kPageBytes, block));
  const OpResultRef result = run(Vector("a").add(OpCode::kSparseRead, 0, 4 * MemStore::kPageBytes));
  const std::string data = text_of(*result);
  ConstBytes rest = as_const_bytes(data);
  const auto map = objecter::decode_extent_map(rest);
  ASSERT_TRUE(map);
  ASSERT_EQ(map->extents.size(), 1u);
  EXPECT_EQ(map->extents[0],
            std::make_pair(uint64_t{2 * MemStore::kPageBytes}, uint64_t{MemStore::kPageBytes}));
  EXPECT_EQ(as_text(rest), block);
  EXPECT_EQ(result->header.steps[0].data_length, data.size());
}

TEST_F(ReadingStepsTest, SparseReadOfAnAbsentObjectHasNoExtents) {
  const OpResultRef result = run(Vector("none").add(OpCode::kSparseRead, 0, 4096));
  EXPECT_EQ(result->header.error, OsdErrc::kOk);
  const std::string data = text_of(*result);
  ConstBytes rest = as_const_bytes(data);
  EXPECT_TRUE(objecter::decode_extent_map(rest)->extents.empty());
}

TEST_F(ReadingStepsTest, MapExtentsShowsWhatIsAllocated) {
  run(Vector("a").write(0, "x"));
  const std::string data = text_of(*run(Vector("a").add(OpCode::kMapExtents, 0, 1u << 20)));
  ConstBytes rest = as_const_bytes(data);
  const auto map = objecter::decode_extent_map(rest);
  ASSERT_TRUE(map);
  ASSERT_EQ(map->extents.size(), 1u);
  EXPECT_EQ(map->extents[0].first, 0u);
}

TEST_F(ReadingStepsTest, StatTellsTheSizeOrThatThereIsNone) {
  run(Vector("a").write(10, "x"));
  EXPECT_EQ(run(Vector("a").add(OpCode::kStat, 0, 0))->header.steps[0].value, 11u);
  EXPECT_EQ(error_of(Vector("none").add(OpCode::kStat, 0, 0)), OsdErrc::kNoSuchObject);
}

TEST_F(ReadingStepsTest, CompareTellsTheFirstDifferenceInItsData) {
  run(Vector("a").write(8, "abcdef"));
  const OpResultRef result = run(Vector("a").compare(8, "abXdYf"));
  EXPECT_EQ(result->header.error, OsdErrc::kMiscompare);
  EXPECT_EQ(result->header.steps[0].value, 2u);
  EXPECT_EQ(error_of(Vector("a").compare(8, "abcdef")), OsdErrc::kOk);
}

TEST_F(ReadingStepsTest, AbsentObjectComparesAsZeroes) {
  EXPECT_EQ(error_of(Vector("none").compare(0, zeros(4))), OsdErrc::kOk);
}

}  // namespace
}  // namespace lunar::osd
