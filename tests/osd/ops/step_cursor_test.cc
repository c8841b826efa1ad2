// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/step_cursor.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

constexpr uint64_t kTooMany = 40u << 20;  // two of these are more than the pool has

class StepCursorTest : public ExecutorFixture {
 protected:
  StepCursor cursor_of(Vector vector) { return {environment, vector.op()}; }

  const OpEnvironment environment{*center, op_store(), *versions, *ledger, limits, one_sided};
};

TEST_F(StepCursorTest, GoesThroughTheStepsInOrderEachWithItsData) {
  StepCursor cursor = cursor_of(Vector("a").compare(0, "abc").read(8, 2).write(4, "defgh"));
  std::vector<std::pair<OpCode, std::string>> seen;
  std::vector<std::size_t> offsets;
  for (; !cursor.is_at_end(); cursor.advance()) {
    EXPECT_EQ(cursor.index(), seen.size());
    seen.emplace_back(cursor.step().code, as_text(cursor.data()));
    offsets.push_back(cursor.data_offset());
  }
  EXPECT_EQ(seen, (std::vector<std::pair<OpCode, std::string>>{
                      {OpCode::kCmpExt, "abc"}, {OpCode::kRead, ""}, {OpCode::kWrite, "defgh"}}));
  EXPECT_EQ(offsets, (std::vector<std::size_t>{0, 3, 3}));
}

TEST_F(StepCursorTest, TheDataOfAPayloadThatWasPulledIsWhereItWasStaged) {
  const ClientOpRef op = Vector("a").write(0, "sent").op();
  op->staged = environment.store.buffers.allocate(4);
  std::ranges::copy(as_const_bytes("pull"), op->staged.bytes().begin());
  EXPECT_EQ(as_text(StepCursor(environment, op).data()), "pull");
}

TEST_F(StepCursorTest, TheResultHasTheTidAndAnEntryForEachStepFromTheBeginning) {
  StepCursor cursor = cursor_of(Vector("a").read(0, 1).read(1, 1).tid(77));
  EXPECT_EQ(cursor.op_result().header.tid, 77u);
  ASSERT_EQ(cursor.op_result().header.steps.size(), 2u);
  cursor.advance();
  cursor.result().value = 5;
  EXPECT_EQ(cursor.op_result().header.steps[1].value, 5u);
  EXPECT_EQ(cursor.op_result().header.steps[0].value, 0u);
}

TEST_F(StepCursorTest, DataThatIsAddedCountsForTheStepInProgress) {
  StepCursor cursor = cursor_of(Vector("a").read(0, 1).read(1, 1));
  cursor.add_data({{}, bytes_of("one"), 0});
  cursor.advance();
  cursor.add_data({{}, bytes_of("two, "), 0});
  cursor.add_data({environment.store.buffers.allocate(4096), {}, 10});
  EXPECT_EQ(cursor.op_result().header.steps[0].data_length, 3u);
  EXPECT_EQ(cursor.op_result().header.steps[1].data_length, 15u) << "what is used of a buffer";
  EXPECT_EQ(text_of(cursor.op_result()).substr(0, 8), "onetwo, ");
}

TEST_F(StepCursorTest, EachStepHasTheBufferThatItNeeds) {
  StepCursor cursor = cursor_of(Vector("a").read(0, 5000).compare(0, "abc").write(0, "x"));
  ASSERT_TRUE(cursor.take_buffers());
  std::vector<std::size_t> lengths;
  for (; !cursor.is_at_end(); cursor.advance()) lengths.push_back(cursor.buffer().bytes().size());
  EXPECT_EQ(lengths, (std::vector<std::size_t>{5000, 3, 0}));
}

TEST_F(StepCursorTest, APlainWriteTakesNoBuffer) {
  StepCursor cursor = cursor_of(Vector("a").write(0, "x"));
  EXPECT_TRUE(cursor.take_buffers());
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST_F(StepCursorTest, WithTooFewBuffersItHoldsNoneAndMayTryAgain) {
  StepCursor cursor = cursor_of(Vector("a").read(0, kTooMany).read(0, kTooMany));
  EXPECT_FALSE(cursor.take_buffers());
  EXPECT_EQ(pool->bytes_in_use(), 0u);
  StepCursor other = cursor_of(Vector("a").read(0, kTooMany));
  ASSERT_TRUE(other.take_buffers());
  StepCursor waits = cursor_of(Vector("a").read(0, kTooMany));
  EXPECT_FALSE(waits.take_buffers());
  other.drop_buffers();
  EXPECT_TRUE(waits.take_buffers());
}

TEST_F(StepCursorTest, BuffersGoBackWhenTheyAreDroppedOrTheCursorEnds) {
  {
    StepCursor cursor = cursor_of(Vector("a").read(0, 5000));
    ASSERT_TRUE(cursor.take_buffers());
    EXPECT_NE(pool->bytes_in_use(), 0u);
    cursor.drop_buffers();
    EXPECT_EQ(pool->bytes_in_use(), 0u);
    ASSERT_TRUE(cursor.take_buffers());
  }
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST_F(StepCursorTest, TheVersionIsThatOfNowAndOfTheKindOfTheObject) {
  StepCursor data = cursor_of(Vector("a").write(0, "x"));
  StepCursor metadata = cursor_of(Vector("a").write(0, "x").metadata());
  const ObjectVersion before = data.version();
  const ObjectVersion changed = versions->change_data({1, "a"});
  EXPECT_NE(changed, before);
  EXPECT_EQ(data.version(), changed);
  EXPECT_EQ(metadata.version(), versions->of_metadata({1, "a"}));
  EXPECT_NE(metadata.version(), changed);
}

TEST_F(StepCursorTest, TheReplyTakesTheResultWithItsData) {
  OpResultRef result;
  {
    StepCursor cursor = cursor_of(Vector("a").read(0, 4));
    ASSERT_TRUE(cursor.take_buffers());
    cursor.add_data({std::move(cursor.buffer()), {}, 4});
    result = cursor.take_result();
    EXPECT_EQ(cursor.take_result(), nullptr);
  }
  EXPECT_EQ(result->data_bytes(), 4u);
  EXPECT_NE(pool->bytes_in_use(), 0u) << "the result has the buffer";
  result.reset();
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

}  // namespace
}  // namespace lunar::osd
