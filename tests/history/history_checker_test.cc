// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
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

// -- many

// A device that is right, with a cache that it loses in power cuts and then tells, under concurrent
// clients. With a flaw it is wrong now and then.
enum class Flaw : uint8_t { kNone, kSkipsWrites, kForgetsToFlush, kForgetsToTell };

class ModelDevice {
 public:
  ModelDevice(uint64_t seed, uint64_t num_blocks, int num_clients, Flaw flaw = Flaw::kNone)
      : random_(seed), num_blocks_(num_blocks), num_clients_(num_clients), flaw_(flaw) {}

  void run(std::size_t num_events, bool does_crash) {
    while (history.events().size() < num_events) {
      if (does_crash && below(1000) == 0) crash();
      if (in_flight_.size() < static_cast<std::size_t>(num_clients_) && below(2) == 0) {
        invoke();
      } else if (!in_flight_.empty()) {
        advance(below(in_flight_.size()));
      }
    }
  }
  History history;

 private:
  struct Running {
    History::Handle handle;
    int client;
    bool is_done = false;
    std::vector<ContentId> read = {};
    HistoryOutcome outcome = kGood;
  };
  // What a block held since it was last durable, that first.
  using Held = std::vector<ContentId>;
  uint64_t below(uint64_t limit) { return random_() % limit; }

  void invoke() {
    const int client = static_cast<int>(below(static_cast<uint64_t>(num_clients_)));
    HistoryOp op;
    const uint64_t dice = below(100);
    op.num_blocks = static_cast<uint32_t>(1 + below(3));
    op.lba = below(num_blocks_ - op.num_blocks);
    if (dice < 45) {
      op.command = kRead;
    } else if (dice < 80) {
      op.command = kWrite;
      op.fua = below(8) == 0;
      op.ids = {++last_id_};
    } else if (dice < 85) {
      op.command = kDiscard;
    } else if (dice < 95) {
      op.command = kCompareAndWrite;
      for (uint32_t i = 0; i < op.num_blocks; ++i) op.compared.push_back(held(op.lba + i).back());
      op.ids = {++last_id_};
    } else {
      op.command = kFlush;
      op.num_blocks = 0;
    }
    in_flight_.push_back({history.invoke(client, op), client});
  }

  // Carries a command out, answers it, or forgets it.
  void advance(std::size_t index) {
    Running& running = in_flight_[index];
    if (!running.is_done && below(50) != 0) return carry_out(running);
    const Running ended = running;
    in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(index));
    if (ended.is_done) {
      history.complete(ended.handle, ended.outcome, ended.read);
      if (ended.outcome == kReportedLost) owed_.erase(ended.client);
    } else {
      history.complete(ended.handle, kUnknown);
      if (below(2) == 0) {
        late_.push_back(ended);
      } else {
        history.close_window(ended.handle);
      }
    }
    if (!late_.empty() && below(20) == 0) {
      carry_out(late_.back());
      late_.pop_back();
    }
  }

  void carry_out(Running& running) {
    running.is_done = true;
    const History::Op& op = history.ops()[running.handle];
    if (op.command == kFlush) {
      running.outcome = owed_.contains(running.client) ? kReportedLost : kGood;
      if (running.outcome != kGood || flaw_ == Flaw::kForgetsToFlush) return;
      for (const uint64_t lba : std::exchange(unflushed_, {})) held(lba) = {held(lba).back()};
      return;
    }
    if (op.command == kCompareAndWrite) {
      for (uint32_t i = 0; i < op.num_blocks; ++i) {
        if (held(op.lba + i).back() != op.compared[i]) running.outcome = kMiscompare;
      }
      if (running.outcome == kMiscompare) return;
    }
    const bool is_skipped = flaw_ == Flaw::kSkipsWrites && below(50) == 0;
    for (uint64_t lba = op.lba; lba < op.lba + op.num_blocks; ++lba) {
      Held& held = this->held(lba);
      if (op.command == kRead) {
        running.read.push_back(held.back());
      } else if (!is_skipped) {
        held.push_back(op.ids[0]);
        unflushed_.push_back(lba);
        if (op.fua) held = {op.ids[0]};
      }
    }
  }

  void crash() {
    history.power_cut();
    for (auto& [lba, held] : blocks_) held = {held[below(held.size())]};
    if (flaw_ != Flaw::kForgetsToTell) {
      for (int client = 0; client < num_clients_; ++client) owed_.insert(client);
    }
    // Nobody knows of what was carried out and not answered.
    std::erase_if(in_flight_, [&](const Running& running) {
      const HistoryCommand command = history.ops()[running.handle].command;
      if (!running.is_done || command == kRead || command == kFlush) return false;
      history.complete(running.handle, kUnknown);
      history.close_window(running.handle);
      return true;
    });
  }
  Held& held(uint64_t lba) { return blocks_.try_emplace(lba, Held{kZeroContent}).first->second; }

  std::mt19937_64 random_;
  const uint64_t num_blocks_;
  const int num_clients_;
  const Flaw flaw_;
  ContentId last_id_ = 0;
  std::map<uint64_t, Held> blocks_;  // none is empty
  std::vector<uint64_t> unflushed_;
  std::set<int> owed_;  // clients that are to be told of a loss
  std::vector<Running> in_flight_, late_;
};

TEST(HistoryCheckerModelTest, AcceptsWhatARightDeviceDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (const bool does_crash : {false, true}) {
      ModelDevice device(seed, 24, 8);
      device.run(10'000, does_crash);
      const HistoryVerdict verdict = judge(device.history);
      ASSERT_TRUE(verdict.is_clean()) << "seed " << seed << '\n' << verdict.to_string();
    }
  }
}

TEST(HistoryCheckerModelTest, FindsEveryDeviceWithAFlaw) {
  for (const Flaw flaw : {Flaw::kSkipsWrites, Flaw::kForgetsToFlush, Flaw::kForgetsToTell}) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      ModelDevice device(seed, 24, 4, flaw);
      device.run(10'000, true);
      EXPECT_FALSE(judge(device.history).is_clean()) << seed << ", " << static_cast<int>(flaw);
    }
  }
}

TEST(HistoryCheckerModelTest, JudgesAMillionEventsInSeconds) {
  ModelDevice device(1, 20'000, 32);
  device.run(1'000'000, false);
  const HistoryVerdict verdict = judge(device.history);
  EXPECT_TRUE(verdict.is_clean()) << verdict.to_string();
}

}  // namespace
}  // namespace lunar::test
