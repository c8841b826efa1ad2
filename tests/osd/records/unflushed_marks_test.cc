// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_marks.h"

#include <chrono>
#include <optional>

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;

class UnflushedMarksTest : public StoreFixture {
 protected:
  ~UnflushedMarksTest() override { turn(); }
  // Not before the loop turns.
  void mark(ImageId image, const std::string& entity = "client.a") {
    marks.wait_marked(image, entity, [this](std::error_code error) { marked = error; });
  }
  void write(ImageId image) {
    if (!marks.begin_write(image)) mark(image);
    turn();
    marks.end_write(image);
  }
  std::optional<ServerRecords::RecordValue> record() const {
    auto found = store->get_record(UnflushedMarks::kRecord);
    return found ? std::optional(std::move(*found)) : std::nullopt;
  }

  // What a server would take from the record at its next start.
  std::vector<ImageId> recorded() const {
    UnflushedMarks read(*center, *store, 8);
    EXPECT_TRUE(read.decode(*record()));
    return read.marked();
  }
  void pass(std::chrono::nanoseconds time) {
    clock.advance(time);
    turn();
  }

  UnflushedMarks marks{*center, *store, 7};
  std::optional<std::error_code> marked;  // how the last mark() ended
};

TEST_F(UnflushedMarksTest, AMarkIsInTheRecordWhenItsDoneRuns) {
  store->hold(Call::kRecord);
  EXPECT_FALSE(marks.begin_write(5));
  mark(5);
  turn();
  EXPECT_FALSE(marked);
  EXPECT_FALSE(marks.begin_write(5)) << "it is not durable yet";
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(marked, std::error_code());
  EXPECT_TRUE(marks.begin_write(5));
  UnflushedMarks read(*center, *store, 8);
  ASSERT_TRUE(read.decode(*record()));
  EXPECT_EQ(read.marked(), std::vector<ImageId>{5});
  EXPECT_TRUE(read.begin_write(5));
}

TEST_F(UnflushedMarksTest, WritesOfAnImageShareOneRecord) {
  store->hold(Call::kRecord);
  int done = 0;
  for (int i = 0; i < 3; ++i) marks.wait_marked(5, "client.a", [&](std::error_code) { ++done; });
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(done, 3);
  EXPECT_EQ(store->calls(Call::kRecord), 1u);
}

TEST_F(UnflushedMarksTest, NoEntityTakesTheMarksThatOthersNeed) {
  store->hold(Call::kRecord);
  std::size_t refused = 0;
  for (ImageId image = 1; image <= UnflushedMarks::kMaxImages; ++image)
    marks.wait_marked(image, "client.evil", [&](std::error_code error) {
      if (error == OsdErrc::kBusy) ++refused;
    });
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(refused, UnflushedMarks::kMaxImages / 2);
  EXPECT_EQ(marks.count(), UnflushedMarks::kMaxImages / 2);
  mark(100'000);
  turn();
  EXPECT_EQ(marked, std::error_code()) << "there is room for others";
  mark(100'001, "client.evil");
  turn();
  EXPECT_EQ(marked, OsdErrc::kBusy);
}

TEST_F(UnflushedMarksTest, AMarkThatCannotBeWrittenIsNone) {
  store->fail_next(Call::kRecord, system_error(EIO));
  write(5);
  EXPECT_EQ(marked, system_error(EIO));
  EXPECT_EQ(marks.count(), 0u);
  EXPECT_TRUE(marks.at_risk().empty());
}

TEST_F(UnflushedMarksTest, AMarkThatCouldNotBeWrittenIsInNoLaterRecord) {
  store->fail_next(Call::kRecord, system_error(EIO));
  marks.wait_marked(5, "client.a", [](std::error_code) {});
  mark(6);  // waits for the first
  turn();
  EXPECT_EQ(marked, std::error_code());
  UnflushedMarks read(*center, *store, 8);
  ASSERT_TRUE(read.decode(*record()));
  EXPECT_EQ(read.marked(), std::vector<ImageId>{6});
}

TEST_F(UnflushedMarksTest, ADurableMarkStaysWhateverBecomesOfALaterRecord) {
  write(5);
  store->fail_next(Call::kRecord, system_error(EIO));
  mark(5);
  turn();
  EXPECT_EQ(marked, system_error(EIO));
  EXPECT_EQ(marks.marked(), std::vector<ImageId>{5});
}

TEST_F(UnflushedMarksTest, AFlushCoversWhatWasWrittenBeforeItBegan) {
  write(5);
  marks.end_round(marks.begin_round());
  EXPECT_TRUE(marks.at_risk().empty());
  EXPECT_EQ(recorded(), std::vector<ImageId>{5}) << "who writes again soon needs no other mark";
  pass(2 * UnflushedMarks::kIdle);
  EXPECT_EQ(recorded(), std::vector<ImageId>{5}) << "the timer has seen it once";
  pass(UnflushedMarks::kIdle);
  EXPECT_TRUE(recorded().empty());
  EXPECT_EQ(marks.count(), 0u);
}

TEST_F(UnflushedMarksTest, WritesAndFlushesInTurnCostOneRecord) {
  for (int i = 0; i < 100; ++i) {
    write(5);
    marks.end_round(marks.begin_round());
    pass(UnflushedMarks::kIdle / 4);
  }
  EXPECT_EQ(store->calls(Call::kRecord), 1u);
}

TEST_F(UnflushedMarksTest, AMarkThatWasClearedIsDurableBeforeTheNextWriteIsAcknowledged) {
  write(5);
  marks.end_round(marks.begin_round());
  pass(UnflushedMarks::kIdle);
  store->hold(Call::kRecord);
  pass(UnflushedMarks::kIdle);
  EXPECT_FALSE(marks.begin_write(5)) << "its mark is just being cleared";
  marked.reset();
  mark(5);
  turn();
  EXPECT_FALSE(marked);
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(marked, std::error_code());
  EXPECT_EQ(recorded(), std::vector<ImageId>{5});
}

TEST_F(UnflushedMarksTest, AFlushDoesNotCoverWhatWasWrittenWhileItRan) {
  write(5);
  const auto first = marks.begin_round();
  write(5);
  marks.end_round(first);
  EXPECT_EQ(marks.at_risk(), std::vector<ImageId>{5});
  marks.end_round(marks.begin_round());
  EXPECT_TRUE(marks.at_risk().empty());
}

TEST_F(UnflushedMarksTest, AWriteAfterTheFlushIsAtRiskAndKeepsTheMark) {
  write(5);
  marks.end_round(marks.begin_round());
  pass(UnflushedMarks::kIdle);
  write(5);
  EXPECT_EQ(marks.at_risk(), std::vector<ImageId>{5});
  for (int i = 0; i < 4; ++i) pass(UnflushedMarks::kIdle);
  EXPECT_EQ(recorded(), std::vector<ImageId>{5});
}

TEST_F(UnflushedMarksTest, AFlushDoesNotCoverAnImageThatIsBeingWritten) {
  write(5);
  marks.begin_write(5);
  marks.end_round(marks.begin_round());
  EXPECT_EQ(marks.at_risk(), std::vector<ImageId>{5});
  marks.end_write(5);
}

TEST_F(UnflushedMarksTest, AFlushDoesNotCoverAMarkThatIsBeingSaved) {
  store->hold(Call::kRecord);
  mark(5);
  marks.end_round(marks.begin_round());
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(marks.at_risk(), std::vector<ImageId>{5});
}

TEST_F(UnflushedMarksTest, AtTheEndTheMarksOfFlushedImagesGoAtOnce) {
  write(5);
  marks.end_round(marks.begin_round());
  write(6);
  marks.clear_flushed([](std::error_code) {});
  turn();
  EXPECT_EQ(recorded(), std::vector<ImageId>{6});
}

TEST_F(UnflushedMarksTest, AnImageThatIsBeingWrittenIsAtRiskBeforeItIsMarked) {
  marks.begin_write(5);
  EXPECT_EQ(marks.count(), 0u);
  EXPECT_EQ(marks.at_risk(), std::vector<ImageId>{5});
  marks.end_write(5);
  EXPECT_TRUE(marks.at_risk().empty());
}

TEST_F(UnflushedMarksTest, ADamagedRecordIsRefused) {
  write(5);
  auto damaged = *record();
  damaged.pop_back();
  EXPECT_FALSE(UnflushedMarks(*center, *store, 8).decode(damaged));
  damaged = *record();
  damaged[0] ^= std::byte{1};
  EXPECT_FALSE(UnflushedMarks(*center, *store, 8).decode(damaged)) << "another version";
  EXPECT_FALSE(UnflushedMarks(*center, *store, 8).decode({}));
}

}  // namespace
}  // namespace lunar::osd
