// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/image_writes.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

TEST(ImageWritesTest, ALossThatConcernsNothingInFlightIsToldAtOnce) {
  ImageWrites writes;
  ImageWrites::Write done;
  writes.begin(done);
  writes.end(done);
  const uint64_t oldest = writes.oldest();
  writes.on_loss();
  EXPECT_TRUE(writes.are_losses_told(oldest));
}

TEST(ImageWritesTest, AFlushThatBeganBeforeAWriteHadEndedTellsNobodyOfIt) {
  ImageWrites writes;
  ImageWrites::Write write;
  writes.begin(write);
  const uint64_t first = writes.oldest();
  writes.on_loss();
  writes.end(write);
  EXPECT_FALSE(writes.are_losses_told(first));
  EXPECT_TRUE(writes.are_losses_told(writes.oldest()));
}

TEST(ImageWritesTest, AWriteThatBeganDuringTheFlushMayBePartOfTheLossToo) {
  ImageWrites writes;
  const uint64_t first = writes.oldest();
  ImageWrites::Write write;
  writes.begin(write);
  writes.on_loss();
  EXPECT_FALSE(writes.are_losses_told(first));
  writes.end(write);
  EXPECT_TRUE(writes.are_losses_told(writes.oldest()));
}

TEST(ImageWritesTest, WritesThatBeginAfterTheLossWasNoticedKeepNobodyWaiting) {
  ImageWrites writes;
  ImageWrites::Write old, newer;
  writes.begin(old);
  writes.on_loss();
  writes.begin(newer);
  EXPECT_FALSE(writes.are_losses_told(writes.oldest()));
  writes.end(old);
  EXPECT_TRUE(writes.are_losses_told(writes.oldest()));
  writes.end(newer);
}

TEST(ImageWritesTest, EndOfAWriteThatNeverBeganIsNothing) {
  ImageWrites writes;
  ImageWrites::Write write;
  writes.end(write);
  EXPECT_EQ(writes.oldest(), 1u);
}

}  // namespace
}  // namespace lunar::objecter
