// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_ledger.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;

class UnflushedLedgerTest : public ExecutorFixture {
 protected:
  // Of a client that hears every answer, and says so with its next flush.
  OsdErrc flush(ImageId image, std::string client = "client.a") {
    uint64_t& heard = heard_[{image, client}];
    const OpResultRef result = flush_as(image, std::move(client), heard);
    if (const uint64_t loss = result->header.steps.at(0).value; loss != 0) heard = loss;
    return result->header.error;
  }
  OsdErrc flush_unheard(ImageId image, std::string client = "client.a") {
    return flush_as(image, std::move(client), 0)->header.error;
  }
  OpResultRef flush_as(ImageId image, std::string client, uint64_t heard) {
    return run(
        Vector("").add(OpCode::kFlush, 0, 0).heard(heard).image(image).client(std::move(client)));
  }
  // As after a kill: memory is lost, the store is not.
  void restart(bool lost) {
    executor.reset();
    ledger.reset();
    store->set_may_have_lost_writes(lost);
    versions = std::move(*ObjectVersions::load(*store, 8));
    ledger = load_ledger(8);
    make_executor();
  }
  std::map<std::pair<ImageId, std::string>, uint64_t> heard_;
};

TEST_F(UnflushedLedgerTest, TheMarkIsDurableBeforeTheFirstUnstableAcknowledgement) {
  store->hold(Call::kRecord);
  const ClientOpRef op = Vector("a").write(0, "x").image(5).tid(1).op();
  executor->submit(op);
  turn();
  EXPECT_EQ(store->calls(Call::kWrite), 1u) << "the write does not wait for the mark";
  EXPECT_TRUE(order.empty()) << "its acknowledgement does";
  store->release(Call::kRecord);
  turn();
  EXPECT_EQ(order.size(), 1u);
  EXPECT_EQ(ledger->marked_images().size(), 1u);
}

TEST_F(UnflushedLedgerTest, OnlyTheFirstWriteCostsARecord) {
  run(Vector("a").write(0, "x").image(5));
  const std::size_t records = store->calls(Call::kRecord);
  run(Vector("a").write(0, "y").image(5));
  run(Vector("b").write(0, "y").image(5));
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  run(Vector("a").write(0, "z").image(5));
  EXPECT_EQ(store->calls(Call::kRecord), records);
}

TEST_F(UnflushedLedgerTest, AStableWriteNeedsNoMark) {
  run(Vector("a").write(0, "x", objecter::kFua).image(5));
  EXPECT_EQ(ledger->marked_images().size(), 0u);
}

TEST_F(UnflushedLedgerTest, AWriteWhoseMarkCannotBeMadeIsNotAcknowledged) {
  store->fail_next(Call::kRecord, system_error(EIO));
  EXPECT_EQ(error_of(Vector("a").write(0, "x").image(5)), OsdErrc::kIoError);
  EXPECT_EQ(error_of(Vector("a").write(0, "x").image(5)), OsdErrc::kOk) << "the next tries again";
}

// Who takes an old loss for all that is wrong would take it for a flush that was done.
TEST_F(UnflushedLedgerTest, AnUnheardLossDoesNotHideThatNothingWasFlushed) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  run(Vector("a").write(0, "y").image(5));
  store->fail_next(Call::kFlush, system_error(EMFILE));
  EXPECT_EQ(flush_unheard(5), OsdErrc::kBusy);
  EXPECT_EQ(flush_unheard(5), OsdErrc::kLostWrites);
}

TEST_F(UnflushedLedgerTest, FlushClearsTheMarksOfAllIdleImages) {
  run(Vector("a").write(0, "x").image(5));
  run(Vector("b").write(0, "x").image(6));
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  pass_idle_time();
  EXPECT_EQ(ledger->marked_images().size(), 0u);
}

TEST_F(UnflushedLedgerTest, AFlushDoesNotClearWhatWasWrittenWhileItRan) {
  run(Vector("a").write(0, "x").image(5));
  store->hold(Call::kFlush);
  executor->submit(Vector("").add(OpCode::kFlush, 0, 0).image(5).tid(1).op());
  turn();
  run(Vector("a").write(0, "y").image(5));
  store->release(Call::kFlush);
  turn();
  EXPECT_EQ(results.at(1)->header.error, OsdErrc::kOk);
  EXPECT_EQ(ledger->marked_images().size(), 1u);
}

TEST_F(UnflushedLedgerTest, FlushesThatComeDuringOneShareTheNext) {
  store->hold(Call::kFlush);
  for (Tid tid = 1; tid <= 5; ++tid)
    executor->submit(Vector("").add(OpCode::kFlush, 0, 0).tid(tid).op());
  turn();
  store->release(Call::kFlush);
  turn();
  store->release(Call::kFlush);
  turn();
  EXPECT_EQ(order.size(), 5u);
  EXPECT_EQ(store->calls(Call::kFlush), 2u);
}

TEST_F(UnflushedLedgerTest, ARestartThatLostNothingKeepsTheVerifierAndTellsNobody) {
  run(Vector("a").write(0, "x").image(5));
  const uint64_t verifier = ledger->verifier();
  restart(false);
  EXPECT_EQ(ledger->verifier(), verifier);
  EXPECT_EQ(ledger->marked_images().size(), 1u);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  pass_idle_time();
  EXPECT_EQ(ledger->marked_images().size(), 0u);
}

TEST_F(UnflushedLedgerTest, ALossyRestartIsToldOnceToEachClientThatFlushes) {
  run(Vector("a").write(0, "x").image(5));
  const uint64_t verifier = ledger->verifier();
  restart(true);
  EXPECT_NE(ledger->verifier(), verifier);
  EXPECT_EQ(flush(5, "client.a"), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5, "client.a"), OsdErrc::kOk);
  EXPECT_EQ(flush(5, "client.late"), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5, "client.late"), OsdErrc::kOk);
  EXPECT_EQ(flush(6, "client.a"), OsdErrc::kOk) << "the other image lost nothing";
}

TEST_F(UnflushedLedgerTest, ThatAClientWasToldSurvivesARestart) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  EXPECT_EQ(flush(5, "client.a"), OsdErrc::kLostWrites);
  restart(false);
  EXPECT_EQ(flush(5, "client.a"), OsdErrc::kOk);
  EXPECT_EQ(flush(5, "client.b"), OsdErrc::kLostWrites);
}

TEST_F(UnflushedLedgerTest, EveryFlushSaysItAgainUntilTheClientHasHeard) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  EXPECT_EQ(flush_unheard(5), OsdErrc::kLostWrites);
  EXPECT_EQ(flush_unheard(5), OsdErrc::kLostWrites) << "the first answer may not have arrived";
  restart(false);
  EXPECT_EQ(flush_unheard(5), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  EXPECT_EQ(flush_unheard(5), OsdErrc::kOk) << "the server knows that this client has heard";
  restart(false);
  EXPECT_EQ(flush_unheard(5), OsdErrc::kOk) << "over restarts of both";
}

TEST_F(UnflushedLedgerTest, HearingOfOneLossIsNotHearingOfTheNext) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  const uint64_t first = flush_as(5, "client.a", 0)->header.steps.at(0).value;
  EXPECT_NE(first, 0u);
  run(Vector("a").write(0, "y").image(5));
  restart(true);
  const OpResultRef second = flush_as(5, "client.a", first);
  EXPECT_EQ(second->header.error, OsdErrc::kLostWrites);
  EXPECT_NE(second->header.steps.at(0).value, first);
}

TEST_F(UnflushedLedgerTest, AnotherImagesLossDoesNotUndoWhatWasHeard) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  pass_idle_time();
  run(Vector("b").write(0, "y").image(6));
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  EXPECT_EQ(flush(6), OsdErrc::kLostWrites);
}

TEST_F(UnflushedLedgerTest, WhoWasForgottenAmongManyIsNotToldAgainWhileItSaysThatItHasHeard) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  EXPECT_EQ(flush(5, "client.long-lived"), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5, "client.long-lived"), OsdErrc::kOk);
  for (std::size_t i = 0; i <= UnflushedLedger::kMaxToldClients; ++i) {
    const std::string tool = "client.tool" + std::to_string(i);
    EXPECT_EQ(flush(5, tool), OsdErrc::kLostWrites);
    EXPECT_EQ(flush(5, tool), OsdErrc::kOk);
  }
  EXPECT_EQ(flush(5, "client.long-lived"), OsdErrc::kOk);
}

TEST_F(UnflushedLedgerTest, RefusedWritesDoNotEraseTheMarkOfALossThatIsNotRecorded) {
  run(Vector("a").write(0, "x").image(5));
  store->fail_next(Call::kFlush, system_error(EIO));
  store->fail_next(Call::kRecord, system_error(EIO), 3);  // the loss; again, with the write's mark
  flush_unheard(5);
  EXPECT_EQ(error_of(Vector("a").write(0, "y").image(5)), OsdErrc::kIoError);
  EXPECT_EQ(ledger->marked_images().size(), 1u);
  // The store could not note its loss either, but tells of it at its next start.
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
}

TEST_F(UnflushedLedgerTest, AFlushDoesNotClearTheMarksOfALossThatIsNotRecorded) {
  run(Vector("a").write(0, "x").image(5));
  store->fail_next(Call::kFlush, system_error(EIO));
  store->fail_next(Call::kRecord, system_error(EIO), 2);
  flush_unheard(5);
  flush_unheard(6);
  EXPECT_EQ(ledger->marked_images().size(), 1u);
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
}

TEST_F(UnflushedLedgerTest, ALossThatCouldNotBeRecordedIsRecordedByTheNextWriteOrFlush) {
  for (const bool by_write : {true, false}) {
    run(Vector("a").write(0, "x").image(5));
    store->fail_next(Call::kFlush, system_error(EIO));
    store->fail_next(Call::kRecord, system_error(EIO));
    flush_unheard(5);
    if (by_write) {
      EXPECT_EQ(error_of(Vector("a").write(0, "y").image(5)), OsdErrc::kOk) << "the disk is well";
    } else {
      EXPECT_EQ(flush_unheard(5), OsdErrc::kLostWrites);
    }
    restart(false);  // not even the store knows
    EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
    EXPECT_EQ(flush(5), OsdErrc::kOk);
  }
}

TEST_F(UnflushedLedgerTest, NothingSucceedsWhileALossIsNotRecorded) {
  run(Vector("a").write(0, "x").image(5));
  store->fail_next(Call::kFlush, system_error(EIO));
  store->fail_next(Call::kRecord, system_error(EIO), 2);
  EXPECT_NE(flush_unheard(5), OsdErrc::kOk);
  EXPECT_EQ(flush_unheard(6), OsdErrc::kIoError);
}

TEST_F(UnflushedLedgerTest, TheStoresFlagStaysUntilTheLastLossIsRecorded) {
  run(Vector("a").write(0, "x").image(5));
  store->hold(Call::kRecord);
  store->fail_next(Call::kFlush, system_error(EIO), 2);
  executor->submit(Vector("").add(OpCode::kFlush, 0, 0).image(5).tid(1).op());
  turn();
  executor->submit(Vector("").add(OpCode::kFlush, 0, 0).image(5).tid(2).op());
  turn();
  store->fail_next(Call::kRecord, system_error(EIO));  // of the second loss
  store->release(Call::kRecord);
  turn();
  EXPECT_TRUE(store->may_have_lost_writes());
}

TEST_F(UnflushedLedgerTest, FlushedImagesAreNotLostByALossyRestart) {
  run(Vector("a").write(0, "x").image(5));
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  pass_idle_time();
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
}

TEST_F(UnflushedLedgerTest, FlushedImagesAreNotLostByAFlushThatFailsLater) {
  run(Vector("a").write(0, "x").image(5));
  EXPECT_EQ(flush(5), OsdErrc::kOk);
  run(Vector("b").write(0, "x").image(6));
  store->fail_next(Call::kFlush, system_error(EIO));
  EXPECT_EQ(flush(6), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
}

TEST_F(UnflushedLedgerTest, ASecondLossIsToldAgain) {
  run(Vector("a").write(0, "x").image(5));
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
  run(Vector("a").write(0, "y").image(5));
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kLostWrites);
}

TEST_F(UnflushedLedgerTest, AFlushErrorRotatesTheVerifierBeforeItIsReplied) {
  run(Vector("a").write(0, "x").image(5));
  const uint64_t verifier = ledger->verifier();
  store->fail_next(Call::kFlush, system_error(EIO));
  store->hold(Call::kRecord);
  executor->submit(Vector("").add(OpCode::kFlush, 0, 0).image(5).tid(1).op());
  turn();
  EXPECT_NE(ledger->verifier(), verifier);
  EXPECT_EQ(results.count(1), 0u) << "the record comes first";
  executor->submit(Vector("z").read(0, 1).tid(2).op());
  turn();
  EXPECT_EQ(results.count(2), 0u) << "no reply at all leaves before it";
  while (store->held(Call::kRecord) > 0) {
    store->release(Call::kRecord);
    turn();
  }
  EXPECT_EQ(results.at(1)->header.error, OsdErrc::kLostWrites);
  EXPECT_EQ(results.at(2)->header.error, OsdErrc::kOk);
  const uint64_t rotated = ledger->verifier();
  restart(false);
  EXPECT_EQ(ledger->verifier(), rotated);
}

TEST_F(UnflushedLedgerTest, AFlushErrorIsToldToOtherClientsToo) {
  run(Vector("a").write(0, "x").image(5));
  store->fail_next(Call::kFlush, system_error(EIO));
  EXPECT_EQ(flush(5, "client.a"), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5, "client.b"), OsdErrc::kLostWrites);
  EXPECT_EQ(flush(5, "client.a"), OsdErrc::kOk);
}

TEST_F(UnflushedLedgerTest, AFlushErrorWithoutUnflushedWritesIsAnIoError) {
  store->fail_next(Call::kFlush, system_error(EIO));
  EXPECT_EQ(flush(5), OsdErrc::kIoError);
}

TEST_F(UnflushedLedgerTest, ShutdownFlushesAndClears) {
  run(Vector("a").write(0, "x").image(5));
  ledger->shutdown([] {});
  turn();
  restart(true);
  EXPECT_EQ(flush(5), OsdErrc::kOk);
}

TEST_F(UnflushedLedgerTest, ADamagedRecordIsRefusedWithASentence) {
  executor.reset();
  ledger.reset();
  store->put_record("losses", bytes_of("garbage"), [](std::error_code) {});
  turn();
  std::string message;
  UnflushedLedger::load(*center, *store, *store, 9,
                        [&](Outcome<std::unique_ptr<UnflushedLedger>> loaded) {
                          ASSERT_FALSE(loaded);
                          message = loaded.error().message;
                        });
  turn();
  EXPECT_NE(message.find("record losses"), std::string::npos) << message;
  store->put_record("losses", {}, [](std::error_code) {});
  turn();
  ledger = load_ledger(9);
  make_executor();
}

}  // namespace
}  // namespace lunar::osd
