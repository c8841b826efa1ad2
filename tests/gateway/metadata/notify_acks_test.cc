// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/notify_acks.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>

namespace lunar::gateway {
namespace {

class NotifyAcksTest : public ::testing::Test {
 protected:
  objecter::NotifyReply ack() {
    return [this](ConstBytes) { ++given; };
  }
  NotifyAcks::Acks one() {
    NotifyAcks::Acks acks;
    acks.push_back(ack());
    return acks;
  }
  // An image with IO in flight, until finish_ios().
  void have_ios() {
    acks.watch_ends([this](uint64_t end, UniqueFunction<void()> done) {
      asked_end = end;
      when_ended_ = std::move(done);
    });
  }
  void finish_ios() { std::exchange(when_ended_, {})(); }

  NotifyAcks acks;
  int given = 0;
  std::optional<uint64_t> asked_end;

 private:
  UniqueFunction<void()> when_ended_;
};

TEST_F(NotifyAcksTest, KeepsWhatItOwesUntilTheHeaderIsRead) {
  acks.add(ack());
  acks.add(ack());
  EXPECT_TRUE(acks.has_any());
  EXPECT_EQ(acks.take().size(), 2u);
  EXPECT_FALSE(acks.has_any());
  EXPECT_EQ(given, 0);
}

TEST_F(NotifyAcksTest, GivesAtOnceWithoutIo) {
  bool is_done = false;
  acks.give(one(), 4096, [&is_done] { is_done = true; });
  EXPECT_EQ(given, 1);
  EXPECT_TRUE(is_done);
}

TEST_F(NotifyAcksTest, WaitsForIoBeyondTheEnd) {
  have_ios();
  bool is_done = false;
  acks.give(one(), 4096, [&is_done] { is_done = true; });
  EXPECT_EQ(asked_end, 4096u);
  EXPECT_EQ(given, 0);
  EXPECT_FALSE(is_done);
  finish_ios();
  EXPECT_EQ(given, 1);
  EXPECT_TRUE(is_done);
}

TEST_F(NotifyAcksTest, AnImageThatBeginsNoMoreWaitsForAllItsIo) {
  have_ios();
  acks.give_idle(one());
  EXPECT_EQ(asked_end, 0u);
  EXPECT_EQ(given, 0);
  finish_ios();
  EXPECT_EQ(given, 1);
}

TEST_F(NotifyAcksTest, AClosingImageGivesWhenItIsReleased) {
  have_ios();
  acks.add(ack());
  acks.stop();
  acks.give_idle(one());
  EXPECT_FALSE(asked_end);
  EXPECT_EQ(given, 0);
  acks.release();
  EXPECT_EQ(given, 2);
}

TEST_F(NotifyAcksTest, AReleasedOneGivesAtOnce) {
  acks.stop();
  acks.release();
  acks.give_idle(one());
  EXPECT_EQ(given, 1);
}

}  // namespace
}  // namespace lunar::gateway
