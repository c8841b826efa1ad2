// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/recorder.h"

#include <gtest/gtest.h>

#include "tests/common/temp_folder.h"
#include "tests/history/block_content.h"
#include "tests/history/history_checker.h"

namespace lunar::iscsi_load {
namespace {

using test::HistoryCommand;
using test::HistoryOp;
using test::HistoryOutcome;

Completion answered(int status, uint8_t key = 0, uint8_t asc = 0, uint8_t ascq = 0) {
  Completion completion;
  completion.end = End::kAnswered;
  completion.status = status;
  completion.sense.key = key;
  completion.sense.asc = asc;
  completion.sense.ascq = ascq;
  completion.transferred = 1024;
  return completion;
}

TEST(RecorderTest, TellsWhatAnAnswerSays) {
  const HistoryOp write{.command = HistoryCommand::kWrite};
  const HistoryOp flush{.command = HistoryCommand::kFlush};
  const HistoryOp swap{.command = HistoryCommand::kCompareAndWrite};
  const auto outcome = [](const HistoryOp& op, const Completion& completion) {
    return recorded_outcome(op, completion).outcome;
  };
  EXPECT_EQ(outcome(write, answered(kGood)), HistoryOutcome::kGood);
  EXPECT_EQ(outcome(write, answered(kBusy)), HistoryOutcome::kFailed);
  EXPECT_EQ(outcome(write, answered(kCheckCondition, kUnitAttention)), HistoryOutcome::kFailed);
  EXPECT_EQ(outcome(write, answered(kCheckCondition, kAbortedCommand)), HistoryOutcome::kUnknown);
  EXPECT_EQ(outcome(write, answered(kCheckCondition, kDataProtect, 0x27, 0x00)),
            HistoryOutcome::kFailed);
  // A full disk, found in the middle of it.
  EXPECT_EQ(outcome(write, answered(kCheckCondition, kDataProtect, 0x27, 0x07)),
            HistoryOutcome::kUnknown);
  EXPECT_EQ(outcome(write, answered(kCheckCondition, kMediumError, 0x0c)),
            HistoryOutcome::kUnknown);
  EXPECT_EQ(outcome(flush, answered(kCheckCondition, kMediumError, 0x0c)),
            HistoryOutcome::kReportedLost);
  EXPECT_EQ(outcome(swap, answered(kCheckCondition, kMiscompare)), HistoryOutcome::kMiscompare);
  EXPECT_EQ(outcome(write, Completion{}), HistoryOutcome::kUnknown);
}

TEST(RecorderTest, OnlyALostConnectionLeavesACommandOpen) {
  const HistoryOp write{.command = HistoryCommand::kWrite};
  Completion aborted;
  aborted.end = End::kAborted;
  EXPECT_TRUE(recorded_outcome(write, aborted).is_over);
  EXPECT_TRUE(recorded_outcome(write, answered(kCheckCondition, kAbortedCommand)).is_over);
  EXPECT_FALSE(recorded_outcome(write, Completion{}).is_over);
}

TEST(RecorderTest, WritesAHistoryInWhichALoginClosesWindows) {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/history";
  {
    auto log = test::HistoryLog::create(path);
    ASSERT_TRUE(log) << log.error().message;
    Recorder recorder(**log, 1);
    const HistoryOp write{
        .command = HistoryCommand::kWrite, .lba = 5, .num_blocks = 2, .ids = {17}};
    const Recorder::Handle lost = recorder.begin(write);
    recorder.end(lost, write, Command{}, Completion{}, &recorder);
    recorder.logged_in(&recorder);
    const HistoryOp read{.command = HistoryCommand::kRead, .lba = 5, .num_blocks = 2};
    Command command;
    command.data = std::make_shared<Buffer>(1024);
    for (const uint64_t lba : {5, 6}) {
      test::make_block(command.data->span().subspan((lba - 5) * 512, 512), 17, lba, 1);
    }
    recorder.end(recorder.begin(read), read, command, answered(kGood), &recorder);
    EXPECT_EQ(recorder.outcomes()[static_cast<size_t>(HistoryOutcome::kGood)], 1U);
  }
  const auto history = test::read_histories({path});
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_NE(history->ops()[0].closed, test::History::kNever);
  EXPECT_EQ(history->ops()[1].ids, std::vector<test::ContentId>{17});
  EXPECT_TRUE(test::judge(*history).is_clean());
}

}  // namespace
}  // namespace lunar::iscsi_load
