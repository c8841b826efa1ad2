// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/run_to_done.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

namespace lunar::gateway {
namespace {

Task<std::string> say_at_once(std::string word) { co_return word; }

Task<std::string> say_after(msgr::Inbox<std::string>& words) {
  const Result<std::string> word = co_await words.next();
  co_return word ? *word : std::string("nothing");
}

class RunToDoneTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = msgr::EventCenter::create({.name = "test"});
    ASSERT_TRUE(made);
    center_ = std::move(*made);
    center_->adopt_thread();
  }
  void run(Task<std::string> task) {
    run_to_done<std::string>(*center_, std::move(task), [this](std::string word) {
      EXPECT_FALSE(said_) << "done ran twice";
      said_ = std::move(word);
    });
  }

  std::unique_ptr<msgr::EventCenter> center_;
  std::optional<std::string> said_;
};

TEST_F(RunToDoneTest, ATaskThatNeverWaitsIsDoneLater) {
  run(say_at_once("yes"));
  EXPECT_FALSE(said_) << "done ran inside the call";
  center_->run_until_idle();
  EXPECT_EQ(said_, "yes");
}

TEST_F(RunToDoneTest, WhatWaitsForTheNextTurnIsFreedWithTheLoop) {
  const auto kept = std::make_shared<int>(0);
  run_to_done<std::string>(*center_, say_at_once("yes"), [kept](std::string) { ++*kept; });
  center_.reset();
  EXPECT_EQ(kept.use_count(), 1);
  EXPECT_EQ(*kept, 0);
}

TEST_F(RunToDoneTest, ATaskThatWaitedIsDoneWhenItEnds) {
  msgr::Inbox<std::string> words;
  run(say_after(words));
  center_->run_until_idle();
  EXPECT_FALSE(said_);
  words.push("well");
  EXPECT_EQ(said_, "well");
}

TEST_F(RunToDoneTest, ATaskThatIsCancelledIsDone) {
  msgr::Inbox<std::string> words;
  run(say_after(words));
  words.close();
  EXPECT_EQ(said_, "nothing");
}

}  // namespace
}  // namespace lunar::gateway
