// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/store_calls.h"

#include "osd/store_done.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;

class StoreCallsTest : public ::testing::Test {
 protected:
  void turn() { driver_.center().run_until_idle(); }
  StoreDone into(std::vector<std::error_code>& ended) {
    return [&ended](std::error_code error) { ended.push_back(error); };
  }

  StoreDriver driver_;
  StoreCalls calls_{driver_.center()};
  std::vector<std::error_code> ended_;
};

TEST_F(StoreCallsTest, FinishRunsDoneOnceOnALaterTurn) {
  StoreDone done = into(ended_);
  ASSERT_TRUE(calls_.admit({}, done));
  calls_.finish(std::move(done), OsdErrc::kNoSpace);
  EXPECT_TRUE(ended_.empty());
  turn();
  EXPECT_EQ(ended_, std::vector<std::error_code>{OsdErrc::kNoSpace});
}

TEST_F(StoreCallsTest, ARefusedCallEndsWithTheRefusal) {
  StoreDone done = into(ended_);
  EXPECT_FALSE(calls_.admit(OsdErrc::kInvalid, done));
  EXPECT_TRUE(ended_.empty());
  turn();
  EXPECT_EQ(ended_, std::vector<std::error_code>{OsdErrc::kInvalid});
}

TEST_F(StoreCallsTest, ACallThatReturnsAValueEndsWithItOrWithTheRefusal) {
  std::vector<Result<std::string>> results;
  for (const std::error_code refusal : {std::error_code{}, make_error_code(OsdErrc::kTooLarge)}) {
    UniqueFunction<void(Result<std::string>)> done = [&](Result<std::string> result) {
      results.push_back(std::move(result));
    };
    if (calls_.admit(refusal, done)) calls_.finish(std::move(done), std::string(100, 'x'));
  }
  turn();
  ASSERT_EQ(results.size(), 2U);
  EXPECT_EQ(*results[0], std::string(100, 'x'));
  EXPECT_EQ(results[1].error(), OsdErrc::kTooLarge);
}

TEST_F(StoreCallsTest, ACallOnThePathOfAnIoCarriesItsDoneInItsState) {
  struct IoCall {
    DataDone done;
  };
  auto call = std::make_unique<IoCall>(IoCall{into(ended_)});
  ASSERT_TRUE(calls_.admit({}, call));
  calls_.finish(std::move(call), std::error_code{});
  turn();
  EXPECT_EQ(ended_, std::vector<std::error_code>{std::error_code{}});
}

TEST_F(StoreCallsTest, AfterCloseEachCallEndsWithShutdown) {
  calls_.close([] {});
  StoreDone done = into(ended_);
  EXPECT_FALSE(calls_.admit(OsdErrc::kInvalid, done));
  turn();
  EXPECT_EQ(ended_, std::vector<std::error_code>{OsdErrc::kShutdown});
}

TEST_F(StoreCallsTest, CloseOfAnIdleStoreDrainsAtOnce) {
  bool is_drained = false;
  calls_.close([&] { is_drained = true; });
  EXPECT_TRUE(is_drained);
}

TEST_F(StoreCallsTest, CloseWaitsForCallsAndForTheStoresOwnWork) {
  StoreDone done = into(ended_);
  ASSERT_TRUE(calls_.admit({}, done));
  calls_.enter();
  int drained = 0;
  calls_.close([&] { ++drained; });
  calls_.finish(std::move(done), std::error_code{});
  turn();
  EXPECT_EQ(ended_.size(), 1U);
  EXPECT_EQ(drained, 0);
  calls_.leave();
  EXPECT_EQ(drained, 1);
  calls_.enter();
  calls_.leave();
  EXPECT_EQ(drained, 1) << "once";
}

}  // namespace
}  // namespace lunar::osd::test
