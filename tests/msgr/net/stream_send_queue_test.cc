// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/stream_send_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/msgr/link_fixture.h"

namespace lunar::msgr {
namespace {

class StreamSendQueueTest : public ::testing::Test {
 protected:
  void push(uint64_t tid, const std::string& front, std::string_view data = {}) {
    Frame frame = test_frame(tid, front, data);
    seal_frame(frame, false);
    queue_.push(std::move(frame), [this, tid](std::error_code) { sent_.push_back(tid); });
  }
  // What a stream would get that takes up to `limit` bytes; the `sent` of what left have run.
  std::string take(std::size_t limit = SIZE_MAX) {
    auto gathered = std::make_unique<StreamSendQueue::Gathered>();
    queue_.gather(*gathered);
    std::string bytes;
    for (std::size_t i = 0; i < gathered->count; ++i) {
      bytes.append(static_cast<const char*>(gathered->iovecs[i].iov_base),
                   gathered->iovecs[i].iov_len);
    }
    EXPECT_EQ(bytes.size(), gathered->bytes);
    bytes.resize(std::min(bytes.size(), limit));
    std::vector<IoDone> finished;
    frames_left_ += queue_.advance(bytes.size(), finished);
    for (IoDone& sent : finished) sent({});
    return bytes;
  }

  StreamSendQueue queue_;
  std::vector<uint64_t> sent_;
  std::size_t frames_left_ = 0;
};

TEST_F(StreamSendQueueTest, GathersAllThatWaitsInOrder) {
  push(1, "front", "data");
  push(2, "next");
  const std::size_t bytes = 2 * sizeof(FrameHeader) + 13;
  EXPECT_EQ(queue_.queued_bytes(), bytes);
  const std::string wire = take();
  EXPECT_EQ(wire.size(), bytes);
  EXPECT_EQ(wire.substr(sizeof(FrameHeader), 9), "frontdata");
  EXPECT_EQ(wire.substr(2 * sizeof(FrameHeader) + 9), "next");
  EXPECT_EQ(sent_, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(frames_left_, 2u);
  EXPECT_TRUE(queue_.is_empty());
  EXPECT_EQ(queue_.queued_bytes(), 0u);
}

TEST_F(StreamSendQueueTest, AFrameThatLeavesInPartsIsSentWithItsLastByte) {
  push(1, "front", "data");
  std::string wire;
  while (sent_.empty()) wire += take(7);
  EXPECT_EQ(wire.size(), sizeof(FrameHeader) + 9);
  EXPECT_EQ(wire.substr(sizeof(FrameHeader)), "frontdata");
}

TEST_F(StreamSendQueueTest, OneCallIsOfferedABoundedNumberOfParts) {
  for (uint64_t tid = 1; tid <= IOV_MAX; ++tid) push(tid, "front");
  auto gathered = std::make_unique<StreamSendQueue::Gathered>();
  queue_.gather(*gathered);
  EXPECT_EQ(gathered->count, gathered->iovecs.size());
  EXPECT_TRUE(gathered->is_full());
  while (!queue_.is_empty()) take();
  EXPECT_EQ(frames_left_, static_cast<std::size_t>(IOV_MAX));
  EXPECT_EQ(sent_.back(), static_cast<uint64_t>(IOV_MAX));
}

TEST_F(StreamSendQueueTest, WhatDidNotLeaveIsTheCallersToEnd) {
  push(1, "front");
  push(2, "front");
  take(sizeof(FrameHeader) + 6);  // the first, and a byte of the second
  auto unsent = queue_.take_unsent();
  ASSERT_EQ(unsent.size(), 1u);
  EXPECT_TRUE(queue_.is_empty());
  EXPECT_EQ(queue_.queued_bytes(), 0u);
  unsent[0]({});
  EXPECT_EQ(sent_, (std::vector<uint64_t>{1, 2}));
  push(3, "again");
  EXPECT_EQ(take().size(), sizeof(FrameHeader) + 5) << "nothing is skipped of the next frame";
}

}  // namespace
}  // namespace lunar::msgr
