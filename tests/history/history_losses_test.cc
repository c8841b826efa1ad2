// SPDX-License-Identifier: LGPL-2.1-or-later
// What may be lost in a crash, and who has to be told.
#include "tests/history/history_fixture.h"

namespace lunar::test {
namespace {

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

TEST_F(HistoryCheckerTest, AcceptsThatACrashOfAnotherServerDecidesNothing) {
  write(1, 5, 17);
  history_.server_crashed(0, true);
  read(1, 5, 17);
  history_.server_crashed(1, true);  // which has the block
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsThatABlockWentBackAfterTwoCrashesOfItsServer) {
  history_.place(5, 0);
  write(1, 5, 17);
  history_.server_crashed(0, true);
  read(1, 5, 17);
  history_.server_crashed(1, true);
  history_.server_crashed(0, true);
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kWentBack, 5);
}

TEST_F(HistoryCheckerTest, FindsALossWithoutACrashOfTheServerThatHasTheBlock) {
  history_.place(5, 0);
  write(1, 5, 17);
  history_.server_crashed(1, true);
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kStale, 5);
}

TEST_F(HistoryCheckerTest, FindsABlockThatWouldHaveToBeOnTwoServers) {
  write(1, 5, 17);
  flush(1);
  write(1, 5, 18);
  history_.server_crashed(0, true);
  read(1, 5, 17);  // so it is on server 0
  write(1, 5, 19);
  history_.server_crashed(1, true);
  flush(1, kReportedLost);
  read(1, 5, 17);
  expect_fault(HistoryFault::kStale, 5, "content 17");
}

TEST_F(HistoryCheckerTest, AcceptsALossOfAllServersAfterOneOfAnother) {
  write(1, 5, 17);
  history_.server_crashed(0, true);
  read(1, 5, 17);
  history_.power_cut();
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsThatAFailedSyncDecidesNothingOfOtherFiles) {
  write(1, 5, 17);
  history_.sync_failed(0);
  read(1, 5, 17);
  history_.server_crashed(0, true);
  flush(1, kReportedLost);
  read(1, 5, kZeroContent);
  expect_clean();
}

TEST_F(HistoryCheckerTest, AcceptsAWriteThatIsLostByAFailedSync) {
  write(1, 5, 17);
  history_.sync_failed(0);
  read(1, 5, kZeroContent);
  flush(1, kReportedLost);
  expect_clean();
}

TEST_F(HistoryCheckerTest, FindsAFlushedWriteThatIsLostByAFailedSync) {
  write(1, 5, 17);
  flush(1);
  history_.sync_failed(0);
  read(1, 5, kZeroContent);
  expect_fault(HistoryFault::kFlushedLost, 5);
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

// Either of two concurrent writes may be the lower one, also after a sync that failed and lost
// neither.
TEST_F(HistoryCheckerTest, AcceptsWhatIsBelowEitherOfTwoAfterAFailedSyncAndACrash) {
  const Handle first = begin_write(1, 5, 17);
  const Handle second = begin_write(1, 5, 18);
  ended(first);
  ended(second);
  history_.sync_failed(1);
  read(1, 5, 18);
  history_.power_cut();
  read(1, 5, 17);
  flush(1, kReportedLost);
  expect_clean();
}

// It was aborted, and sent again after the write: for the device it is a new one.
TEST_F(HistoryCheckerTest, AFlushThatIsSentAgainAfterAWriteTellsOfItsLoss) {
  for (const bool is_sent_again : {true, false}) {
    const ContentId content = is_sent_again ? 17 : 18;
    const uint64_t block = is_sent_again ? 5 : 6;
    const Handle flushing = begin_flush(1);
    write(1, block, content);
    history_.server_crashed(1, true);
    if (is_sent_again) history_.send_again(flushing);
    ended(flushing, kReportedLost);
    flush(1);
    read(1, block, kZeroContent);
    is_sent_again ? expect_clean() : expect_fault(HistoryFault::kUntoldLoss, block);
  }
}

// A disk fails until a flush is told of it, and so long nothing of all that is written is certain.
TEST_F(HistoryCheckerTest, JudgesALossThatGoesOnOverManyWrites) {
  history_.begin_loss("the disk of server 1 fails");
  for (ContentId content = 1; content <= 600; ++content) write(1, 5, content);
  history_.end_loss();
  flush(1, kReportedLost);
  flush(1);
  read(1, 5, 200);
  expect_clean();
  read(1, 5, 201);
  expect_fault(HistoryFault::kStale, 5);
}

// The write-back of what has been seen fails, too, and then the memory is lost.
TEST_F(HistoryCheckerTest, AcceptsThatWhatWasSeenIsLostWhileALossGoesOn) {
  history_.begin_loss("the disk of server 1 fails");
  write(1, 5, 17);
  read(1, 5, 17);
  read(1, 5, kZeroContent);
  history_.end_loss();
  flush(1, kReportedLost);
  expect_clean();
}

// Any set of bits may be left of a loss that goes on; the load reads each block after its ORWRITE,
// without which a dozen of them could not be judged.
TEST_F(HistoryCheckerTest, JudgesALossThatGoesOnOverOrwritesThatAreReadBack) {
  history_.begin_loss("the disk of server 1 fails");
  uint64_t bits = 0;
  for (int bit = 0; bit < 40; ++bit) {
    orwrite(1, 5, uint64_t{1} << bit);
    read(1, 5, or_content(bits |= uint64_t{1} << bit));
  }
  history_.end_loss();
  flush(1, kReportedLost);
  read(1, 5, or_content(bits >> 9));
  expect_clean();
  read(1, 5, or_content(bits & ~uint64_t{1}));
  expect_fault(HistoryFault::kStale, 5);
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

}  // namespace
}  // namespace lunar::test
