// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/send_queue.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

std::unique_ptr<OutMessage> message(uint64_t tid, Priority priority = Priority::kDefault) {
  return std::make_unique<SimpleMessage>(MessageMeta{1, priority, tid, 0},
                                         std::vector<std::byte>());
}

class SendQueueTest : public ::testing::Test {
 protected:
  uint64_t take_tid() {
    const SendQueue::NextMessage next = queue_.take_next();
    return next.message == nullptr ? 0 : next.message->meta().tid;
  }
  std::size_t finished_messages() { return queue_.take_finished().messages.size(); }

  SendQueue queue_;
};

TEST_F(SendQueueTest, GivesConsecutiveNumbersInOrder) {
  for (uint64_t tid : {10, 11, 12}) queue_.push(message(tid));
  for (uint64_t seq = 1; seq <= 3; ++seq) {
    const SendQueue::NextMessage next = queue_.take_next();
    EXPECT_EQ(next.seq, seq);
    EXPECT_EQ(next.message->meta().tid, 9 + seq);
    EXPECT_FALSE(next.is_replay);
  }
  EXPECT_FALSE(queue_.has_next());
}

TEST_F(SendQueueTest, HigherPriorityGoesFirstAndOrderIsKeptWithinOne) {
  queue_.push(message(1, Priority::kLow));
  queue_.push(message(2));
  queue_.push(message(3));
  queue_.push(message(4, Priority::kHighest));
  EXPECT_EQ(take_tid(), 4u);
  EXPECT_EQ(take_tid(), 2u);
  EXPECT_EQ(take_tid(), 3u);
  EXPECT_EQ(take_tid(), 1u);
}

TEST_F(SendQueueTest, APriorityWithoutMessagesHoldsUpNoLowerOne) {
  queue_.push(message(1, Priority::kHighest));
  EXPECT_EQ(take_tid(), 1u);
  queue_.push(message(2, Priority::kLow));
  EXPECT_EQ(take_tid(), 2u);
  EXPECT_FALSE(queue_.has_next());
}

TEST_F(SendQueueTest, KeepsAMessageUntilItIsAcknowledged) {
  queue_.push(message(1));
  queue_.push(message(2));
  take_tid();
  take_tid();
  queue_.sent(1, true);
  queue_.sent(2, true);
  EXPECT_EQ(finished_messages(), 0u);
  EXPECT_TRUE(queue_.acknowledge(1));
  EXPECT_EQ(finished_messages(), 1u);
  EXPECT_EQ(queue_.unacked_count(), 1u);
  EXPECT_TRUE(queue_.acknowledge(2));
  EXPECT_TRUE(queue_.is_idle());
}

TEST_F(SendQueueTest, AnAcknowledgedMessageStaysWhileTheLinkReadsIt) {
  queue_.push(message(1));
  take_tid();
  EXPECT_TRUE(queue_.acknowledge(1));
  EXPECT_EQ(finished_messages(), 0u);
  queue_.sent(1, true);
  EXPECT_EQ(finished_messages(), 1u);
}

TEST_F(SendQueueTest, ALossySessionKeepsNothingThatWasSent) {
  queue_.push(message(1));
  take_tid();
  queue_.sent(1, false);
  EXPECT_EQ(finished_messages(), 1u);
  EXPECT_TRUE(queue_.is_idle());
}

TEST_F(SendQueueTest, RefusesAnAcknowledgementOfWhatWasNotSent) {
  queue_.push(message(1));
  EXPECT_FALSE(queue_.acknowledge(1));
  take_tid();
  EXPECT_TRUE(queue_.acknowledge(1));
  EXPECT_FALSE(queue_.acknowledge(2));
}

TEST_F(SendQueueTest, ReplaysWhatThePeerLacksBeforeAnythingNew) {
  for (uint64_t tid : {1, 2, 3}) queue_.push(message(tid));
  for (uint64_t seq : {1, 2, 3}) {
    take_tid();
    queue_.sent(seq, true);
  }
  queue_.push(message(4, Priority::kHighest));
  EXPECT_EQ(queue_.restart(1), 2u);
  SendQueue::NextMessage next = queue_.take_next();
  EXPECT_EQ(next.seq, 2u);
  EXPECT_TRUE(next.is_replay);
  EXPECT_EQ(queue_.take_next().seq, 3u);
  next = queue_.take_next();
  EXPECT_EQ(next.seq, 4u);
  EXPECT_EQ(next.message->meta().tid, 4u);
  EXPECT_FALSE(next.is_replay);
}

TEST_F(SendQueueTest, KnowsFromWhereItCanReplay) {
  for (uint64_t tid : {1, 2}) queue_.push(message(tid));
  for (uint64_t seq : {1, 2}) {
    take_tid();
    queue_.sent(seq, true);
  }
  queue_.acknowledge(1);
  EXPECT_FALSE(queue_.could_replay_from(0)) << "that message is gone";
  EXPECT_TRUE(queue_.could_replay_from(1));
  EXPECT_TRUE(queue_.could_replay_from(2));
  EXPECT_FALSE(queue_.could_replay_from(3)) << "it was never sent";
}

TEST_F(SendQueueTest, WithdrawsWhatIsQueuedAtOnce) {
  queue_.push(message(1));
  queue_.push(message(2));
  queue_.push(message(1, Priority::kHigh));
  EXPECT_FALSE(queue_.withdraw(1, [] {}, {}));
  SendQueue::FinishedMessages finished = queue_.take_finished();
  EXPECT_EQ(finished.messages.size(), 2u);
  EXPECT_EQ(finished.callbacks.size(), 1u);
  EXPECT_EQ(take_tid(), 2u);
  EXPECT_FALSE(queue_.has_next());
}

TEST_F(SendQueueTest, AWithdrawnMessageIsAVoidInTheReplay) {
  queue_.push(message(1));
  queue_.push(message(2));
  take_tid();
  take_tid();
  queue_.sent(1, true);
  queue_.sent(2, true);
  EXPECT_FALSE(queue_.withdraw(1, [] {}, {}));
  EXPECT_EQ(finished_messages(), 1u);
  queue_.restart(0);
  const SendQueue::NextMessage next = queue_.take_next();
  EXPECT_EQ(next.seq, 1u);
  EXPECT_EQ(next.message, nullptr);
  EXPECT_EQ(take_tid(), 2u);
}

TEST_F(SendQueueTest, WithdrawingWaitsForTheLinkThatReadsTheMessage) {
  queue_.push(message(1));
  take_tid();
  EXPECT_TRUE(queue_.withdraw(1, [] {}, {}));
  EXPECT_TRUE(queue_.oldest_withdrawal());
  EXPECT_TRUE(queue_.take_finished().empty());
  queue_.sent(1, true);
  const SendQueue::FinishedMessages finished = queue_.take_finished();
  EXPECT_EQ(finished.messages.size(), 1u);
  EXPECT_EQ(finished.callbacks.size(), 1u);
  EXPECT_FALSE(queue_.oldest_withdrawal());
}

TEST_F(SendQueueTest, KnowsSinceWhenTheOldestWithdrawalWaits) {
  for (uint64_t tid : {1, 2}) queue_.push(message(tid));
  for (int i = 0; i < 2; ++i) take_tid();
  const SendQueue::TimePoint start{};
  queue_.withdraw(
      1, [] {}, start + std::chrono::seconds(1));
  queue_.withdraw(
      2, [] {}, start + std::chrono::seconds(2));
  EXPECT_EQ(queue_.oldest_withdrawal(), start + std::chrono::seconds(1));
  queue_.sent(1, true);
  EXPECT_EQ(queue_.oldest_withdrawal(), start + std::chrono::seconds(2));
}

TEST_F(SendQueueTest, WithdrawingAnUnknownTidIsDoneAtOnce) {
  EXPECT_FALSE(queue_.withdraw(99, [] {}, {}));
  EXPECT_EQ(queue_.take_finished().callbacks.size(), 1u);
}

TEST_F(SendQueueTest, ClearingEndsEverythingAndStartsAtOne) {
  queue_.push(message(1));
  queue_.push(message(2));
  take_tid();
  queue_.sent(1, true);
  queue_.clear();
  EXPECT_EQ(finished_messages(), 2u);
  EXPECT_FALSE(queue_.has_next());
  queue_.push(message(3));
  EXPECT_EQ(queue_.take_next().seq, 1u);
}

}  // namespace
}  // namespace lunar::msgr
