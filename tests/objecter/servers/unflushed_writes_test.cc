// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/unflushed_writes.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

TEST(UnflushedWritesTest, SameVerifierIsWell) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  EXPECT_FALSE(writes.on_flush(1, 10, writes.mark()));
  EXPECT_EQ(writes.images(), 0u) << "nothing is left to watch";
}

TEST(UnflushedWritesTest, NewVerifierAtTheFlushIsALossSaidOnce) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  EXPECT_TRUE(writes.on_flush(1, 11, writes.mark()));
  EXPECT_FALSE(writes.on_flush(1, 11, writes.mark()));
}

TEST(UnflushedWritesTest, NewVerifierBetweenTwoWritesIsALoss) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  writes.on_write(1, 11);
  EXPECT_TRUE(writes.on_flush(1, 11, writes.mark()));
}

TEST(UnflushedWritesTest, ImagesAreApart) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  writes.on_write(2, 11);
  EXPECT_FALSE(writes.on_flush(2, 11, writes.mark()));
  EXPECT_TRUE(writes.on_flush(1, 11, writes.mark()));
}

TEST(UnflushedWritesTest, NewVerifierWithNothingUnflushedIsWell) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  EXPECT_FALSE(writes.on_flush(1, 10, writes.mark()));
  EXPECT_FALSE(writes.on_flush(1, 11, writes.mark()));
}

TEST(UnflushedWritesTest, WriteAfterTheFlushWasSentStaysWatched) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  const uint64_t mark = writes.mark();
  writes.on_write(1, 10);
  EXPECT_FALSE(writes.on_flush(1, 10, mark));
  EXPECT_EQ(writes.images(), 1u);
  EXPECT_TRUE(writes.on_flush(1, 11, writes.mark()));
}

TEST(UnflushedWritesTest, LossReportedByTheServerIsNotSaidTwice) {
  UnflushedWrites writes;
  writes.on_write(1, 10);
  writes.on_loss_reported(1, 11, writes.mark());
  EXPECT_FALSE(writes.on_flush(1, 11, writes.mark()));
}

}  // namespace
}  // namespace lunar::objecter
