// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/task.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "msgr/awaiters.h"
#include "msgr/errors.h"
#include "tests/support/manual_clock.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;

Task<int> at_once(int value) { co_return value; }
Task<void> count_down(int from, long* sum) {
  for (int i = from; i > 0; --i) {
    const int v = co_await at_once(i);
    *sum += v;
  }
}
Detached start(Task<void> task, bool* ended) {
  co_await task;
  *ended = true;
}

TEST(TaskTest, ManySynchronousCompletionsUseNoStack) {
  long sum = 0;
  bool ended = false;
  start(count_down(300'000, &sum), &ended);
  EXPECT_TRUE(ended);
  EXPECT_EQ(sum, 300'000L * 300'001 / 2);
}

TEST(TaskTest, DoesNotStartBeforeItIsAwaited) {
  long sum = 0;
  { const Task<void> never = count_down(3, &sum); }
  EXPECT_EQ(sum, 0);
}

Task<std::string> next_or_error(Inbox<std::unique_ptr<int>>* inbox) {
  auto item = co_await inbox->next();
  if (!item) co_return item.error().message();
  co_return std::to_string(**item);
}
Task<void> collect(Inbox<std::unique_ptr<int>>* inbox, std::vector<std::string>* out, int count) {
  for (int i = 0; i < count; ++i) {
    std::string text = co_await next_or_error(inbox);
    out->push_back(std::move(text));
  }
}

class InboxTest : public testing::Test {
 protected:
  Inbox<std::unique_ptr<int>> inbox_;
  std::vector<std::string> got_;
  bool ended_ = false;
};

TEST_F(InboxTest, WakesTheCoroutineThatWaits) {
  start(collect(&inbox_, &got_, 2), &ended_);
  EXPECT_TRUE(got_.empty());
  inbox_.push(std::make_unique<int>(1));
  EXPECT_EQ(got_, std::vector<std::string>{"1"});
  inbox_.push(std::make_unique<int>(2));
  EXPECT_TRUE(ended_);
}

TEST_F(InboxTest, KeepsWhatCameBeforeAnybodyWaited) {
  inbox_.push(std::make_unique<int>(1));
  inbox_.push(std::make_unique<int>(2));
  inbox_.close(MsgrErrc::kClosedByPeer);
  inbox_.push(std::make_unique<int>(3));
  start(collect(&inbox_, &got_, 4), &ended_);
  const std::string why = make_error_code(MsgrErrc::kClosedByPeer).message();
  EXPECT_EQ(got_, (std::vector<std::string>{"1", "2", why, why}));
}

TEST_F(InboxTest, CloseEndsTheWaitAndCancelForgetsTheRest) {
  start(collect(&inbox_, &got_, 1), &ended_);
  inbox_.close(MsgrErrc::kTimedOut);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(got_.front(), make_error_code(MsgrErrc::kTimedOut).message());

  Inbox<std::unique_ptr<int>> other;
  other.push(std::make_unique<int>(1));
  other.cancel();
  got_.clear();
  start(collect(&other, &got_, 1), &ended_);
  EXPECT_EQ(got_.front(), std::make_error_code(std::errc::operation_canceled).message());
}

Detached own_inbox(std::unique_ptr<Inbox<int>>* slot, Inbox<int>** where, int* got) {
  auto inbox = std::make_unique<Inbox<int>>();
  *where = inbox.get();
  const Result<int> item = co_await inbox->next();
  *got = *item;
  *slot = nullptr;
}

TEST_F(InboxTest, MayBeDestroyedByTheCoroutineItWakes) {
  std::unique_ptr<Inbox<int>> slot;
  Inbox<int>* inbox = nullptr;
  int got = 0;
  own_inbox(&slot, &inbox, &got);
  inbox->push(7);  // the coroutine ends inside, and its inbox with it
  EXPECT_EQ(got, 7);
}

TEST_F(InboxTest, ATaskThatIsDestroyedWhileItWaitsIsForgotten) {
  class Starter {
   public:
    explicit Starter(Task<void> task) : task_(std::move(task)) {}
    void begin() { task_.await_suspend(std::noop_coroutine()); }

   private:
    Task<void> task_;
  };
  {
    Starter starter(collect(&inbox_, &got_, 1));
    starter.begin();
  }
  inbox_.push(std::make_unique<int>(1));
  EXPECT_TRUE(got_.empty());
}

Task<void> await_number(Completion<int>* completion, int* got) {
  const int number = co_await *completion;
  *got = number;
}

class CompletionTest : public testing::Test {
 protected:
  // A coroutine that makes the call and owns the completion, as callers do.
  static Task<void> call(std::function<void(int)>* callback, int* got) {
    Completion<int> completion;
    *callback = completion.callback();
    const int number = co_await completion;
    *got = number;
  }
  int got_ = 0;
  bool ended_ = false;
};

TEST_F(CompletionTest, ResumesTheCoroutineInsideTheCallback) {
  std::function<void(int)> callback;
  start(call(&callback, &got_), &ended_);
  EXPECT_FALSE(ended_);
  callback(7);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(got_, 7);
}

TEST_F(CompletionTest, AResultThatIsThereAlreadyIsNotWaitedFor) {
  Completion<int> completion;
  completion.callback()(7);
  start(await_number(&completion, &got_), &ended_);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(got_, 7);
}

TEST_F(CompletionTest, ACallbackThatOutlivesTheCoroutineLeavesItAlone) {
  class Starter {
   public:
    explicit Starter(Task<void> task) : task_(std::move(task)) {}
    void begin() { task_.await_suspend(std::noop_coroutine()); }

   private:
    Task<void> task_;
  };
  std::function<void(int)> callback;
  {
    Starter starter(call(&callback, &got_));
    starter.begin();
  }
  callback(7);
  EXPECT_EQ(got_, 0);
}

TEST_F(CompletionTest, ACallbackThatIsDestroyedUnrunResumesNobody) {
  Completion<int> completion;
  { const auto callback = completion.callback(); }
  EXPECT_FALSE(completion.await_ready());
}

Task<void> await_nothing(Completion<void>* completion) { co_await *completion; }

TEST_F(CompletionTest, WorksForACallbackWithoutAResult) {
  Completion<void> completion;
  auto callback = completion.callback();
  start(await_nothing(&completion), &ended_);
  EXPECT_FALSE(ended_);
  callback();
  EXPECT_TRUE(ended_);
}

using CompletionDeathTest = CompletionTest;

TEST_F(CompletionDeathTest, TheCallbackRunsAtMostOnce) {
  Completion<int> completion;
  auto callback = completion.callback();
  callback(1);
  EXPECT_DEATH(callback(2), "ran twice");
}

Task<void> sleep_twice(Sleeper* sleeper, std::vector<std::error_code>* results) {
  for (int i = 0; i < 2; ++i) {
    const std::error_code result = co_await sleeper->sleep(milliseconds(10));
    results->push_back(result);
  }
}

class SleeperTest : public testing::Test {
 protected:
  SleeperTest() {
    EventCenter::Options options;
    options.time = &clock_;
    center_ = std::move(*EventCenter::create(options));
    sleeper_ = std::make_unique<Sleeper>(*center_);
  }
  test::ManualClock clock_;
  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<Sleeper> sleeper_;
  std::vector<std::error_code> results_;
  bool ended_ = false;
};

TEST_F(SleeperTest, SleepsAsLongAsItIsTold) {
  start(sleep_twice(sleeper_.get(), &results_), &ended_);
  clock_.advance(milliseconds(9));
  center_->run_until_idle();
  EXPECT_TRUE(results_.empty());
  clock_.advance(milliseconds(1));
  center_->run_until_idle();
  EXPECT_EQ(results_.size(), 1u);
  clock_.advance(milliseconds(10));
  center_->run_until_idle();
  EXPECT_TRUE(ended_);
  EXPECT_FALSE(results_[0] || results_[1]);
}

TEST_F(SleeperTest, CloseEndsThisSleepAndAllLaterOnes) {
  start(sleep_twice(sleeper_.get(), &results_), &ended_);
  sleeper_->close();
  EXPECT_TRUE(ended_);
  for (const auto& result : results_) EXPECT_EQ(result, std::errc::operation_canceled);
}

TEST_F(SleeperTest, WakeEndsOneSleepEarly) {
  start(sleep_twice(sleeper_.get(), &results_), &ended_);
  sleeper_->wake();
  ASSERT_EQ(results_.size(), 1u);
  EXPECT_FALSE(results_[0]);
  EXPECT_FALSE(ended_);
  sleeper_->close();
  EXPECT_TRUE(ended_);
}

}  // namespace
}  // namespace lunar::msgr
