// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace lunar::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using enum HistoryCommand;
using enum HistoryOutcome;

// Histories are written down command by command: `write(1, 5, 17)` is client 1's whole WRITE of
// content 17 to block 5.
class HistoryCheckerTest : public testing::Test {
 protected:
  using Handle = History::Handle;

  Handle begin_write(int client, uint64_t lba, ContentId id, uint32_t blocks = 1) {
    return history_.invoke(client,
                           {.command = kWrite, .lba = lba, .num_blocks = blocks, .ids = {id}});
  }
  Handle write(int client, uint64_t lba, ContentId id, HistoryOutcome outcome = kGood) {
    return ended(begin_write(client, lba, id), outcome);
  }
  Handle write_fua(int client, uint64_t lba, ContentId id) {
    return ended(history_.invoke(
        client, {.command = kWrite, .lba = lba, .num_blocks = 1, .fua = true, .ids = {id}}));
  }
  Handle begin_read(int client, uint64_t lba, uint32_t blocks = 1) {
    return history_.invoke(client, {.command = kRead, .lba = lba, .num_blocks = blocks});
  }
  void found(Handle read, std::vector<ContentId> ids) {
    history_.complete(read, kGood, std::move(ids));
  }
  Handle read(int client, uint64_t lba, ContentId id) {
    const Handle handle = begin_read(client, lba);
    found(handle, {id});
    return handle;
  }
  Handle begin_flush(int client) { return history_.invoke(client, {.command = kFlush}); }
  Handle flush(int client, HistoryOutcome outcome = kGood) {
    return ended(begin_flush(client), outcome);
  }
  Handle begin_swap(int client, uint64_t lba, std::vector<ContentId> from,
                    std::vector<ContentId> to) {
    const auto blocks = static_cast<uint32_t>(to.size());
    return history_.invoke(client, {.command = kCompareAndWrite,
                                    .lba = lba,
                                    .num_blocks = blocks,
                                    .ids = std::move(to),
                                    .compared = std::move(from)});
  }
  Handle swap(int client, uint64_t lba, ContentId from, ContentId to,
              HistoryOutcome outcome = kGood) {
    return ended(begin_swap(client, lba, {from}, {to}), outcome);
  }
  Handle orwrite(int client, uint64_t lba, uint64_t bits, HistoryOutcome outcome = kGood) {
    return ended(
        history_.invoke(
            client, {.command = kOrwrite, .lba = lba, .num_blocks = 1, .ids = {or_content(bits)}}),
        outcome);
  }
  Handle other(HistoryCommand command, int client, uint64_t lba, std::vector<ContentId> ids = {},
               HistoryOutcome outcome = kGood) {
    return ended(
        history_.invoke(client,
                        {.command = command, .lba = lba, .num_blocks = 1, .ids = std::move(ids)}),
        outcome);
  }
  Handle ended(Handle handle, HistoryOutcome outcome = kGood) {
    history_.complete(handle, outcome);
    return handle;
  }

  void expect_clean() {
    const HistoryVerdict verdict = judge(history_);
    EXPECT_TRUE(verdict.is_clean()) << verdict.to_string();
  }
  void expect_fault(HistoryFault fault, uint64_t block, const std::string& text = "") {
    const HistoryVerdict verdict = judge(history_);
    ASSERT_EQ(verdict.violations.size(), 1U) << verdict.to_string();
    EXPECT_EQ(verdict.violations[0].fault, fault) << verdict.to_string();
    EXPECT_EQ(verdict.violations[0].block, block);
    EXPECT_THAT(verdict.violations[0].explanation, HasSubstr(text));
  }

  History history_;
};

// -- order

TEST_F(HistoryCheckerTest, AcceptsAnEmptyHistory) { expect_clean(); }

TEST_F(HistoryCheckerTest, AcceptsReadsOfTheLastWrite) {
  read(1, 5, kZeroContent);
  write(1, 5, 17);
  read(2, 5, 17);
  read(2, 6, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAnAcknowledgedWriteThatIsGone) {
  write(1, 5, 17);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kStale, 5, "found zeroes; it can only have held content 17");
}

TEST_F(HistoryCheckerTest, FindsAWriteThatIsUndone) {
  write(1, 5, 17);
  write(1, 5, 18);
  read(1, 5, 18);
  read(1, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, AcceptsAWriteThatTakesEffectTwiceIfThatIsAllowed) {
  const Handle twice = begin_write(1, 5, 17);
  read(2, 5, 17);
  write(2, 5, 18);
  read(2, 5, 18);
  ended(twice);
  read(2, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
  history_.let_writes_repeat();
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsThatOfAnUnknownWriteTooUntilItIsGivenUp) {
  history_.let_writes_repeat();
  const Handle twice = begin_write(1, 5, 17);
  read(2, 5, 17);
  write(2, 5, 18);
  ended(twice, HistoryOutcome::kUnknown);
  read(2, 5, 17);
  write(2, 5, 19);
  expect_clean();
  read(2, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, FindsAWriteThatTakesEffectAgainAfterItsEnd) {
  history_.let_writes_repeat();
  write(1, 5, 17);
  write(2, 5, 18);
  read(2, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, AcceptsEitherOrderOfConcurrentWrites) {
  for (const uint64_t lba : {5, 6}) {
    const Handle first = begin_write(1, lba, 17);
    const Handle second = begin_write(2, lba, 18);
    ended(first);
    ended(second);
    read(1, lba, lba == 5 ? 17 : 18);
    read(2, lba, lba == 5 ? 17 : 18);
  }
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsReadsThatDisagreeOnTheOrderOfConcurrentWrites) {
  const Handle first = begin_write(1, 5, 17);
  const Handle second = begin_write(2, 5, 18);
  ended(first);
  ended(second);
  read(1, 5, 17);
  read(2, 5, 18);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, AcceptsAReadThatOverlapsTwoWritesAndSeesAnyOfThree) {
  for (const ContentId seen : {16, 17, 18}) {
    write(1, seen, 16);
    const Handle reading = begin_read(2, seen);
    write(1, seen, 17);
    write(1, seen, 18);
    found(reading, {seen});
    read(1, seen, 18);
  }
  expect_clean();
}

// P and R overlap a write that ends before both: P, R, W is the only order.
TEST_F(HistoryCheckerTest, AcceptsAContentThatWasSeenAndOverwrittenWithinTheTimeOfItsWrite) {
  const Handle slow = begin_write(1, 5, 17);
  const Handle reading = begin_read(2, 5);
  write(3, 5, 18);
  found(reading, {17});
  read(3, 5, 18);
  ended(slow);
  read(3, 5, 18);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAReadThatSeesAWriteWhichBeginsLater) {
  read(1, 5, 17);
  write(1, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, AcceptsAWriteOfSeveralBlocksThatIsTornBetweenThem) {
  const Handle first = begin_write(1, 5, 17, 2);
  const Handle second = begin_write(2, 5, 18, 2);
  ended(first);
  ended(second);
  const Handle reading = begin_read(1, 5, 2);
  found(reading, {17, 18});
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsDiscardsAndWritesOfZeroesAndOfTheSame) {
  write(1, 5, 17);
  other(kDiscard, 1, 5);
  read(1, 5, kZeroContent);
  write(1, 5, 18);
  other(kWriteZeroes, 1, 5);
  read(1, 5, kZeroContent);
  other(kWriteSame, 1, 5, {19});
  read(1, 5, 19);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsADiscardThatHasNoEffect) {
  write(1, 5, 17);
  other(kDiscard, 1, 5);
  read(1, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, FindsDamagedContent) {
  write(1, 5, 17);
  read(1, 5, kDamagedContent);
  expect_fault(HistoryFault::kDamagedContent, 5, "damaged content");
}

TEST_F(HistoryCheckerTest, FindsContentOfAnotherBlock) {
  write(1, 5, 17);
  write(1, 6, 18);
  read(1, 6, 17);
  expect_fault(HistoryFault::kForeignContent, 6, "#0 WRITE of block 5 by client 1 wrote it");
}

// -- outcomes

TEST_F(HistoryCheckerTest, AcceptsAnUnknownWriteThatHappensOrNot) {
  write(1, 5, 17, kUnknown);
  read(1, 5, kZeroContent);
  write(1, 6, 18, kUnknown);
  read(1, 6, 18);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsAnUnknownWriteThatHappensLateAndOnce) {
  write(1, 5, 17, kUnknown);
  write(1, 5, 18);
  read(1, 5, 18);
  read(1, 5, 17);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAnUnknownWriteThatHappensTwice) {
  write(1, 5, 17, kUnknown);
  read(1, 5, 17);
  write(1, 5, 18);
  read(1, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, AcceptsACommandWithoutAnEnd) {
  begin_write(1, 5, 17);
  history_.client_died(1);
  read(2, 5, kZeroContent);
  read(2, 5, 17);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAWriteThatHappensAfterItsWindow) {
  begin_write(1, 5, 17);
  history_.client_died(1);
  history_.close_windows(1, "client 1 is fenced");
  read(2, 5, kZeroContent);
  read(2, 5, 17);
  expect_fault(HistoryFault::kLateEffect, 5, "client 1 is fenced");
}

TEST_F(HistoryCheckerTest, AcceptsAWriteThatHappenedJustBeforeItsWindowClosed) {
  const Handle handle = write(1, 5, 17, kUnknown);
  history_.close_window(handle);
  read(2, 5, 17);
  write(1, 5, 18);
  read(2, 5, 18);
  expect_clean();
  read(2, 5, 17);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, FindsAFailedWriteThatHappened) {
  write(1, 5, 17, kFailed);
  read(1, 5, 17);
  expect_fault(HistoryFault::kFailedTookEffect, 5);
}

TEST_F(HistoryCheckerTest, AcceptsManyUnknownWritesToOneBlock) {
  for (ContentId id = 1; id <= 2000; ++id) write(1, 5, id, kUnknown);
  for (const ContentId id : {3, 2000, 17, 5}) read(2, 5, id);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsUnknownDiscardsEachOnce) {
  other(kDiscard, 1, 5, {}, kUnknown);
  other(kDiscard, 1, 5, {}, kUnknown);
  for (const ContentId id : {17, 18}) {
    write(2, 5, id);
    read(2, 5, id);
    read(2, 5, kZeroContent);
  }
  expect_clean();
  write(2, 5, 19);
  read(2, 5, kZeroContent);
  expect_fault(HistoryFault::kStale, 5);
}

// -- durability

TEST_F(HistoryCheckerTest, AcceptsAnUnflushedWriteThatIsLostAndTold) {
  write(1, 5, 17);
  history_.power_cut();
  read(1, 5, kZeroContent);
  flush(1, kReportedLost);
  flush(1);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsALossThatWasToldBeforeItWasSeen) {
  write(1, 5, 17);
  history_.server_crashed(0, true);
  flush(1, kReportedLost);
  flush(1);
  read(1, 5, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsAnUnflushedWriteThatSurvives) {
  write(1, 5, 17);
  history_.power_cut();
  read(1, 5, 17);
  flush(1);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsALossWithoutACrash) {
  write(1, 5, 17);
  history_.server_crashed(0, false);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kStale, 5, "its page cache stayed");
}

TEST_F(HistoryCheckerTest, FindsAFlushedWriteThatIsLost) {
  write(1, 5, 17);
  flush(1);
  history_.power_cut();
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kFlushedLost, 5, "power cut");
}

TEST_F(HistoryCheckerTest, FindsAWriteThroughThatIsLost) {
  write_fua(1, 5, 17);
  history_.power_cut();
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kFlushedLost, 5);
}

TEST_F(HistoryCheckerTest, AcceptsThatAFlushDoesNotCoverAWriteAcknowledgedAfterItsBeginning) {
  const Handle flushing = begin_flush(1);
  write(1, 5, 17);
  ended(flushing);
  history_.power_cut();
  read(1, 5, kZeroContent);
  flush(1, kReportedLost);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAnUntoldLoss) {
  write(1, 5, 17);
  history_.power_cut();
  read(1, 5, kZeroContent);
  flush(1);
  expect_fault(HistoryFault::kUntoldLoss, 5, "#2 FLUSH by client 1 was GOOD before the loss");
}

TEST_F(HistoryCheckerTest, FindsAnUntoldLossThatIsSeenLater) {
  write(1, 5, 17);
  history_.power_cut();
  flush(1);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kUntoldLoss, 5);
}

TEST_F(HistoryCheckerTest, FindsALossThatTheWriterIsNotToldBecauseAnotherOneWas) {
  write(1, 5, 17);
  history_.power_cut();
  flush(2, kReportedLost);
  read(2, 5, kZeroContent);
  flush(2);
  flush(1);
  expect_fault(HistoryFault::kUntoldLoss, 5, "by client 1");
}

TEST_F(HistoryCheckerTest, FindsALossOfADeadWriterThatNobodyIsTold) {
  write(1, 5, 17);
  history_.client_died(1);
  history_.power_cut();
  read(2, 5, kZeroContent);
  flush(2);
  expect_fault(HistoryFault::kUntoldLoss, 5, "by client 2");
}

TEST_F(HistoryCheckerTest, AcceptsALossOfADeadWriterThatItsSuccessorIsTold) {
  write(1, 5, 17);
  history_.client_died(1);
  history_.power_cut();
  flush(2, kReportedLost);
  flush(3);
  read(3, 5, kZeroContent);
  expect_clean();
}

// The flush that tells is not heard: it has no end, or an unknown one.
TEST_F(HistoryCheckerTest, FindsALossWhoseTellingWasNotHeard) {
  write(1, 5, 17);
  history_.power_cut();
  flush(1, kUnknown);
  flush(1);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kUntoldLoss, 5);
}

TEST_F(HistoryCheckerTest, FindsASecondLossThatIsNotTold) {
  write(1, 5, 17);
  history_.power_cut();
  flush(1, kReportedLost);
  write(1, 6, 18);
  history_.power_cut();
  flush(1);
  read(1, 5, kZeroContent);
  read(1, 6, kZeroContent);
  expect_fault(HistoryFault::kUntoldLoss, 6);
}

TEST_F(HistoryCheckerTest, FindsABlockThatGoesBackAfterALoss) {
  write(1, 5, 17);
  history_.power_cut();
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  read(1, 5, 17);
  expect_fault(HistoryFault::kWentBack, 5);
}

TEST_F(HistoryCheckerTest, AcceptsAnyWriteSinceTheLastFlushAfterALoss) {
  for (const ContentId left : {1, 2, 3}) {
    write(1, left, 1);
    flush(1);
    write(1, left, 2);
    write(1, left, 3);
    history_.power_cut();
    flush(1, kReportedLost);
    read(1, left, left);
  }
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAWriteFromBeforeTheLastFlushAfterALoss) {
  write(1, 5, 1);
  write(1, 5, 2);
  flush(1);
  write(1, 5, 3);
  history_.power_cut();
  flush(1, kReportedLost);
  read(1, 5, 1);
  expect_fault(HistoryFault::kFlushedLost, 5);
}

TEST_F(HistoryCheckerTest, AcceptsAWriteThatOverlapsALossAndIsDoneAgain) {
  const Handle writing = begin_write(1, 5, 17);
  read(2, 5, 17);
  history_.power_cut();
  read(2, 5, kZeroContent);
  ended(writing);
  read(2, 5, 17);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsAnUnknownWriteThatALossUncovers) {
  const Handle handle = begin_write(1, 5, 17);
  write(2, 5, 18);
  ended(handle, kUnknown);
  history_.close_window(handle);
  history_.power_cut();
  flush(2, kReportedLost);
  read(2, 5, 17);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsLossesAtAnyTimeBetweenTheirBeginningAndEnd) {
  history_.begin_loss("the disk of server 1 fails");
  write(1, 5, 17);
  read(1, 5, 17);
  read(1, 6, kZeroContent);
  write(1, 6, 18);
  read(1, 6, kZeroContent);
  history_.end_loss();
  flush(1, kReportedLost);
  flush(1);
  write(1, 7, 19);
  read(1, 7, 19);
  expect_clean();
  read(1, 7, kZeroContent);
  expect_fault(HistoryFault::kStale, 7);
}

// -- COMPARE AND WRITE, ORWRITE

TEST_F(HistoryCheckerTest, AcceptsARaceOfCompareAndWritesWithOneWinner) {
  const Handle first = begin_swap(1, 5, {kZeroContent}, {17});
  const Handle second = begin_swap(2, 5, {kZeroContent}, {18});
  ended(first, kMiscompare);
  ended(second);
  swap(1, 5, 18, 19);
  read(1, 5, 19);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsTwoWinners) {
  const Handle first = begin_swap(1, 5, {kZeroContent}, {17});
  const Handle second = begin_swap(2, 5, {kZeroContent}, {18});
  ended(first);
  ended(second);
  expect_fault(HistoryFault::kCompareAndWrite, 5);
}

TEST_F(HistoryCheckerTest, FindsTwoWinnersThoughAWriteCoversThem) {
  const Handle covering = begin_write(3, 5, 16);
  const Handle first = begin_swap(1, 5, {kZeroContent}, {17});
  const Handle second = begin_swap(2, 5, {kZeroContent}, {18});
  ended(covering);
  ended(first);
  ended(second);
  read(1, 5, 16);
  expect_fault(HistoryFault::kCompareAndWrite, 5);
}

TEST_F(HistoryCheckerTest, FindsACompareAndWriteThatIsGoodWithoutAMatch) {
  write(1, 5, 17);
  swap(1, 5, 16, 18);
  expect_fault(HistoryFault::kCompareAndWrite, 5, "was GOOD, which means that it found content 16");
}

TEST_F(HistoryCheckerTest, FindsAFalseMiscompare) {
  write(1, 5, 17);
  swap(1, 5, 17, 18, kMiscompare);
  expect_fault(HistoryFault::kFalseMiscompare, 5);
}

// The first attempt was carried out, and not answered.
TEST_F(HistoryCheckerTest, AcceptsAMiscompareThatAnUnansweredAttemptExplains) {
  swap(1, 5, kZeroContent, 17, kUnknown);
  swap(1, 5, kZeroContent, 17, kMiscompare);
  read(1, 5, 17);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsAMiscompareOfAnAttemptThatIsOverAndWasOverwrittenUnseen) {
  const Handle attempt = swap(1, 5, kZeroContent, 17, kUnknown);
  history_.close_window(attempt);
  swap(1, 5, kZeroContent, 17, kMiscompare);
  write(1, 5, 18);
  read(1, 5, 18);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAFalseMiscompareAfterAnUnknownWriteThatWasOverwritten) {
  history_.close_window(write(1, 5, 16, kUnknown));
  write(1, 5, 17);
  swap(1, 5, 17, 18, kMiscompare);
  expect_fault(HistoryFault::kFalseMiscompare, 5);
}

TEST_F(HistoryCheckerTest, FindsAMiscompareThatWrote) {
  swap(1, 5, 16, 17, kMiscompare);
  read(1, 5, 17);
  expect_fault(HistoryFault::kFailedTookEffect, 5);
}

TEST_F(HistoryCheckerTest, AcceptsAMiscompareBecauseOfOneOfSeveralBlocks) {
  write(1, 6, 17);
  ended(begin_swap(1, 5, {kZeroContent, kZeroContent}, {18, 18}), kMiscompare);
  read(1, 5, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAnUnansweredCompareAndWriteThatIsTorn) {
  ended(begin_swap(1, 5, {kZeroContent, kZeroContent}, {17, 18}), kUnknown);
  read(1, 5, 17);
  read(1, 6, kZeroContent);
  expect_fault(HistoryFault::kTornCompareAndWrite, 6, "was carried out in block 5");
}

TEST_F(HistoryCheckerTest, AcceptsACompareAndWriteThatAPowerCutTore) {
  ended(begin_swap(1, 5, {kZeroContent, kZeroContent}, {17, 18}));
  history_.power_cut();
  flush(1, kReportedLost);
  read(1, 5, 17);
  read(1, 6, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsOrwritesInAnyOrder) {
  const Handle first =
      history_.invoke(1, {.command = kOrwrite, .lba = 5, .num_blocks = 1, .ids = {or_content(1)}});
  const Handle second =
      history_.invoke(2, {.command = kOrwrite, .lba = 5, .num_blocks = 1, .ids = {or_content(2)}});
  read(3, 5, or_content(2));
  ended(first);
  ended(second);
  read(3, 5, or_content(3));
  orwrite(1, 5, 4, kUnknown);
  read(3, 5, or_content(7));
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsALostBitOfAnOrwrite) {
  orwrite(1, 5, 1);
  orwrite(2, 5, 2);
  read(3, 5, or_content(2));
  expect_fault(HistoryFault::kStale, 5, "bits 2h; it can only have held bits 3h");
}

TEST_F(HistoryCheckerTest, AcceptsThatAPartInFlightIsLostIfAFlushAfterItsEndTells) {
  const Handle half = begin_write(1, 5, 17);
  history_.power_cut();
  ended(half);
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsALossOfWhichOnlyAnEarlierFlushTold) {
  const Handle half = begin_write(1, 5, 17);
  history_.power_cut();
  const Handle earlier = begin_flush(1);
  ended(half);
  ended(earlier, kReportedLost);
  flush(1);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kUntoldLoss, 5);
}

TEST_F(HistoryCheckerTest, AcceptsThatAnotherClientWasToldWhileTheWriteWasInFlight) {
  const Handle half = begin_write(1, 5, 17);
  const Handle earlier = begin_flush(2);
  history_.power_cut();
  ended(earlier, kReportedLost);
  ended(half);
  flush(2);
  read(2, 5, kZeroContent);
  expect_clean();
}

// -- what a verdict says

TEST_F(HistoryCheckerTest, NamesTheBlockAndTheEventsInOrder) {
  history_.set_time(1'500'000'000);
  write(1, 5, 17);
  flush(1);
  history_.note("server 2 was restarted");
  history_.power_cut("server 2");
  read(2, 5, kZeroContent);
  const HistoryVerdict verdict = judge(history_);
  EXPECT_THAT(
      verdict.to_string(),
      AllOf(HasSubstr("1 of 1 blocks are not explained"), HasSubstr("[flushed write lost] block 5"),
            HasSubstr("1     1.500000  #0 WRITE of block 5 by client 1, writes content 17: begins"),
            HasSubstr("2     1.500000  #0 WRITE of block 5 by client 1: GOOD"),
            HasSubstr("4     1.500000  #1 FLUSH by client 1: GOOD"),
            HasSubstr("5     1.500000  server 2 was restarted"),
            HasSubstr("6     1.500000  power cut of server 2"),
            HasSubstr("8     1.500000  #2 READ of block 5 by client 2: GOOD, found zeroes")));
}

}  // namespace
}  // namespace lunar::test
