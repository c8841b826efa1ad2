// SPDX-License-Identifier: LGPL-2.1-or-later
// The steps that change a data object, by the executor.
#include "osd/ops/changing_steps.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using ChangingStepsTest = ExecutorFixture;

TEST_F(ChangingStepsTest, WriteSameRepeatsItsPattern) {
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteSame, 2, 12, "abcd")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 15), zeros(2) + "abcdabcdabcd" + zeros(1));
}

TEST_F(ChangingStepsTest, WriteSameLongerThanItsBufferIsWrittenInSeveralWrites) {
  const uint64_t length = 3 * 1000 * 512;  // no multiple of the buffer
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteSame, 0, length, std::string(512, 'p'))),
            OsdErrc::kOk);
  EXPECT_GT(store->calls(FaultyStore::Call::kWrite), 1u);
  EXPECT_EQ(content("a", 0, length + 1), std::string(length, 'p') + zeros(1));
}

TEST_F(ChangingStepsTest, WriteSameOfZeroesFreesSpace) {
  run(Vector("a").write(0, std::string(MemStore::kPageBytes, 'x')));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteSame, 0, MemStore::kPageBytes, zeros(512))),
            OsdErrc::kOk);
  EXPECT_EQ(store->calls(FaultyStore::Call::kZero), 1u);
  EXPECT_EQ(content("a", 0, 4), zeros(4));
}

TEST_F(ChangingStepsTest, OrWriteSetsBits) {
  run(Vector("a").write(0, "\x01\x02"));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kOrWrite, 0, 3, "\x10\x20\x40")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 3), "\x11\x22\x40");
}

TEST_F(ChangingStepsTest, ZeroTruncateAndDelete) {
  run(Vector("a").write(0, "abcdef"));
  run(Vector("a").add(OpCode::kZero, 1, 2));
  EXPECT_EQ(content("a", 0, 6), "a" + zeros(2) + "def");
  run(Vector("a").add(OpCode::kTruncate, 0, 4));
  EXPECT_EQ(run(Vector("a").add(OpCode::kStat, 0, 0))->header.steps[0].value, 4u);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kStat, 0, 0)), OsdErrc::kNoSuchObject);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kOk);
}

TEST_F(ChangingStepsTest, WriteFullReplacesTheObject) {
  run(Vector("a").write(0, "long content"));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kWriteFull, 0, 5, "short")), OsdErrc::kOk);
  EXPECT_EQ(content("a", 0, 0), "short");
  EXPECT_EQ(store->calls(FaultyStore::Call::kReplace), 1u);
}

TEST_F(ChangingStepsTest, XattrsAreKept) {
  EXPECT_EQ(error_of(Vector("a").write(0, "x").add(OpCode::kSetXattr, 0, 0, "value", 0, "name")),
            OsdErrc::kOk);
  EXPECT_EQ(text_of(*run(Vector("a").add(OpCode::kGetXattr, 0, 0, "", 0, "name"))), "value");
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kGetXattr, 0, 0, "", 0, "other")),
            OsdErrc::kNoSuchAttribute);
}

TEST_F(ChangingStepsTest, FuaOfWhatTheStoreCannotDoStablyFlushes) {
  run(Vector("a").add(OpCode::kTruncate, 0, 4, "", objecter::kFua));
  EXPECT_EQ(store->calls(FaultyStore::Call::kFlush), 1u);
  EXPECT_EQ(ledger->marked_images().size(), 0u);
}

TEST_F(ChangingStepsTest, ADamagedObjectStaysDamagedUntilItsEndIsDurable) {
  for (const OpCode code : {OpCode::kDelete, OpCode::kTruncate}) {
    run(Vector("a").write(0, "old"));
    store->lose({{1, "a"}});
    turn();
    ASSERT_TRUE(ledger->is_damaged({1, "a"}));
    store->hold(FaultyStore::Call::kFlush);
    const ClientOpRef op = Vector("a").add(code, 0, 0).op();
    executor->submit(op);
    turn();
    EXPECT_TRUE(ledger->is_damaged({1, "a"})) << "a crash would bring the old content back";
    EXPECT_EQ(results.count(op->header.tid), 0u);
    store->release(FaultyStore::Call::kFlush);
    turn();
    EXPECT_EQ(results.at(op->header.tid)->header.error, OsdErrc::kOk);
    EXPECT_FALSE(ledger->is_damaged({1, "a"}));
  }
}

TEST_F(ChangingStepsTest, AnObjectWhoseEndCannotBeMadeDurableStaysDamaged) {
  run(Vector("a").write(0, "old"));
  store->lose({{1, "a"}});
  turn();
  store->fail_next(FaultyStore::Call::kFlush, system_error(EIO));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kIoError);
  EXPECT_TRUE(ledger->is_damaged({1, "a"}));
  store->fail_next(FaultyStore::Call::kRecord, system_error(EIO), 2);  // the mark, the damage
  EXPECT_NE(error_of(Vector("a").add(OpCode::kDelete, 0, 0)), OsdErrc::kOk);
  EXPECT_TRUE(ledger->is_damaged({1, "a"}));
}

TEST_F(ChangingStepsTest, TheFirstOpThatFreesSpaceSucceedsAlthoughItsMarkFoundNone) {
  store->fail_next(FaultyStore::Call::kRecord, system_error(ENOSPC));
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kZero, 0, 4096).image(5)), OsdErrc::kOk);
  EXPECT_EQ(ledger->marked_images().size(), 1u);
  run(Vector("").add(OpCode::kFlush, 0, 0).image(5));
  pass_idle_time();
  store->fail_next(FaultyStore::Call::kRecord, system_error(ENOSPC), 2);
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kZero, 0, 4096).image(5).idempotent()),
            OsdErrc::kNoSpace);
}

TEST_F(ChangingStepsTest, AWriteThatFailsInTheMiddleSaysWhichStepsWereDone) {
  const ObjectVersion before = run(Vector("a").write(0, "1"))->header.version;
  store->fail_next(FaultyStore::Call::kZero, make_error_code(OsdErrc::kNoSpace));
  const OpResultRef result =
      run(Vector("a").write(0, "2").add(OpCode::kZero, 4, 4).write(8, "3").idempotent());
  EXPECT_EQ(result->header.error, OsdErrc::kNoSpace);
  EXPECT_EQ(result->header.steps[0].error, OsdErrc::kOk);
  EXPECT_EQ(result->header.steps[1].error, OsdErrc::kNoSpace);
  EXPECT_NE(result->header.version, before);
}

// What an initiator is told to make room for, it does again.
TEST_F(ChangingStepsTest, WhatMayBeHalfDoneAndMustNotBeRepeatedHasNoKnownOutcome) {
  run(Vector("a").write(0, "old"));
  const auto compare_and_write = [] { return Vector("a").compare(0, "old").write(0, "new"); };
  const auto or_write = [] { return Vector("a").add(OpCode::kOrWrite, 0, 3, "bit"); };
  for (const int number : {ENOSPC, EDQUOT, EMFILE, ENFILE}) {
    SCOPED_TRACE(number);
    for (const auto& op : {compare_and_write(), or_write()}) {
      store->fail_next(FaultyStore::Call::kWrite, system_error(number));
      EXPECT_EQ(error_of(op), OsdErrc::kUnknownOutcome);
    }
    store->fail_next(FaultyStore::Call::kWrite, system_error(number));
    EXPECT_EQ(error_of(or_write().idempotent()), wire_error(system_error(number)));
  }
}

TEST_F(ChangingStepsTest, WhatHasChangedNothingSaysWhy) {
  run(Vector("a").write(0, "old"));
  for (const OsdErrc error : {OsdErrc::kNoSpace, OsdErrc::kBusy}) {
    store->fail_next(FaultyStore::Call::kWrite, make_error_code(error), 2);
    EXPECT_EQ(error_of(Vector("a").compare(0, "old").write(0, "new")), error);
    EXPECT_EQ(error_of(Vector("a").add(OpCode::kOrWrite, 0, 3, "bit")), error);
    store->fail_next(FaultyStore::Call::kRead, make_error_code(error));
    EXPECT_EQ(error_of(Vector("a").add(OpCode::kOrWrite, 0, 3, "bit")), error);
  }
}

TEST_F(ChangingStepsTest, AfterAStepThatIsDoneNothingSaysThatNothingHasChanged) {
  store->fail_next(FaultyStore::Call::kZero, make_error_code(OsdErrc::kNoSpace));
  EXPECT_EQ(error_of(Vector("a").write(0, "1").add(OpCode::kZero, 4, 4)), OsdErrc::kUnknownOutcome);
  store->fail_next(FaultyStore::Call::kRecord, system_error(ENOSPC), 2);
  EXPECT_EQ(error_of(Vector("b").write(0, "1").image(6)), OsdErrc::kUnknownOutcome)
      << "only its mark found no room";
}

}  // namespace
}  // namespace lunar::osd
