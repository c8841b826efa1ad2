// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/common/temp_folder.h"
#include "tests/history/history_checker.h"

namespace lunar::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class HistoryLogTest : public testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    const std::string path = folder_.path() + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  TempFolder folder_;
};

TEST_F(HistoryLogTest, ReadsWhatItWrote) {
  const std::string path = folder_.path() + "/a";
  {
    auto log = HistoryLog::create(path);
    ASSERT_TRUE(log) << log.error().message;
    const HistoryOp swap{.command = HistoryCommand::kCompareAndWrite,
                         .lba = 5,
                         .num_blocks = 3,
                         .fua = true,
                         .ids = {17},
                         .compared = {0, 0, 4}};
    (*log)->complete((*log)->invoke(1, swap), HistoryOutcome::kUnknown);
    (*log)->close_windows(1, "logged in again");
    const auto read = (*log)->invoke(2, {.lba = 5, .num_blocks = 3});
    (*log)->complete(read, HistoryOutcome::kGood, {17, 17, 17});
  }
  const auto history = read_histories({path});
  ASSERT_TRUE(history) << history.error().message;
  ASSERT_EQ(history->ops().size(), 2U);
  const History::Op& swap = history->ops()[0];
  EXPECT_EQ(swap.command, HistoryCommand::kCompareAndWrite);
  EXPECT_TRUE(swap.fua);
  EXPECT_THAT(swap.compared, ElementsAre(0, 0, 4));
  EXPECT_EQ(swap.closed, 3U);
  EXPECT_THAT(history->ops()[1].ids, ElementsAre(17));
  EXPECT_THAT(history->events()[2].text, HasSubstr("client 1"));
}

TEST_F(HistoryLogTest, MergesFilesByTime) {
  const std::string one = file("one",
                               "lunar-history 1\n"
                               "10 i 0 1 write 5 1 0 w 17\n20 c 0 good\n"
                               "50 i 1 1 read 5 1 0\n60 c 1 good r 18\n");
  const std::string two = file("two",
                               "lunar-history 1\n"
                               "30 i 0 2 write 5 1 0 w 18\n40 c 0 good\n");
  const std::string faults = file("faults", "lunar-history 1\n45 s 0 0\n");
  const auto history = read_histories({one, two, faults});
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_EQ(history->ops()[1].client, 2);
  EXPECT_EQ(history->events()[4].kind, History::Event::Kind::kNote);
  EXPECT_TRUE(judge(*history).is_clean()) << judge(*history).to_string();
}

TEST_F(HistoryLogTest, TakesCommandsOfTheSameTimeForConcurrent) {
  const std::string one = file("one",
                               "lunar-history 1\n"
                               "10 i 0 1 write 5 1 0 w 17\n20 c 0 good\n");
  const std::string two = file("two",
                               "lunar-history 1\n"
                               "20 i 0 2 read 5 1 0\n30 c 0 good r 0\n");
  const auto history = read_histories({one, two});
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_TRUE(judge(*history).is_clean());
}

TEST_F(HistoryLogTest, BeginsANewSectionWhereAProgramAppends) {
  const std::string path = file("a",
                                "lunar-history 1\n10 i 0 1 write 5 1 0 w 17\n20 c 0 good\n"
                                "lunar-history 1\n30 i 0 1 read 5 1 0\n40 c 0 good r 17\n");
  const auto history = read_histories({path});
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_EQ(history->ops().size(), 2U);
}

TEST_F(HistoryLogTest, LeavesOutTheHalfLineOfAKilledProgram) {
  const auto history =
      read_histories({file("a", "lunar-history 1\n10 i 0 1 write 5 1 0 w 17\n20 c 0 go")});
  ASSERT_TRUE(history) << history.error().message;
  EXPECT_EQ(history->ops()[0].ended, History::kNever);
}

TEST_F(HistoryLogTest, NamesTheLineThatIsWrong) {
  for (const char* line : {"10 i 0 1 write 5 1 0", "10 i 0 1 write 5 2 0 w 1,2,3", "x", "10 q 1",
                           "10 i 0 1 scribble 5 1 0 w 1", "10 i 0 1 write 5 1 0 w 1*9999999"}) {
    const auto history =
        read_histories({file("a", std::string("lunar-history 1\n") + line + "\n20 e\n")});
    ASSERT_FALSE(history) << line;
    EXPECT_THAT(history.error().message, HasSubstr("a:2: is no event"));
  }
}

TEST_F(HistoryLogTest, RefusesAnEndWithoutABeginning) {
  const auto history = read_histories({file("a", "lunar-history 1\n10 c 7 good\n")});
  ASSERT_FALSE(history);
  EXPECT_THAT(history.error().message, HasSubstr("does not fit command 7"));
}

}  // namespace
}  // namespace lunar::test
