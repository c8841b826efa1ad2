// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history_fixture.h"

namespace lunar::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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

TEST_F(HistoryCheckerTest, FindsAWriteThatIsGoodAndHappensAfterItsWindow) {
  const Handle late = begin_write(1, 5, 17);
  history_.close_windows(1, "client 2 has the lock");
  read(2, 5, kZeroContent);
  ended(late);
  read(2, 5, 17);
  expect_fault(HistoryFault::kLateEffect, 5, "client 2 has the lock");
}

TEST_F(HistoryCheckerTest, AcceptsAnAnswerThatComesAfterTheWindow) {
  const Handle late = begin_write(1, 5, 17);
  history_.close_windows(1, "client 2 has the lock");
  read(2, 5, 17);
  ended(late);
  write(2, 5, 18);
  read(2, 5, 18);
  expect_clean();
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

TEST_F(HistoryCheckerTest, AcceptsAnUnknownWriteBehindOneThatWasAnsweredLater) {
  const Handle unknown = begin_write(1, 5, 17);
  const Handle answered_later = begin_write(1, 5, 18);
  ended(unknown, HistoryOutcome::kUnknown);
  history_.close_window(unknown);
  ended(answered_later);
  read(1, 5, 17);
  expect_clean();
  read(1, 5, 18);
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

}  // namespace
}  // namespace lunar::test
