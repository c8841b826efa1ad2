// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/stream_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/msgr/link_fixture.h"

namespace lunar::msgr {
namespace {

// Gives what the test put in, and keeps what it was asked for.
struct FakeStream final : ByteStream {
  std::string bytes;
  std::vector<std::size_t> asked;  // of the last receive(), for each part

  StreamResult send(std::span<const iovec>) override { return StreamResult::blocked(); }
  StreamResult receive(std::span<const iovec> iovecs) override {
    asked.clear();
    StreamResult result;
    for (const iovec& part : iovecs) {
      asked.push_back(part.iov_len);
      const std::size_t length = std::min(part.iov_len, bytes.size());
      std::memcpy(part.iov_base, bytes.data(), length);
      bytes.erase(0, length);
      result.bytes += length;
    }
    if (result.bytes == 0) return StreamResult::blocked();
    return result;
  }
  std::error_code start(FdEvents, InlineFunction<void(FdEvents)>) override { return {}; }
  void set_events(FdEvents) override {}
  std::error_code take_error() noexcept override { return {}; }
  Address local_address() const override { return {}; }
  Address peer_address() const override { return {}; }
};

class StreamReaderTest : public ::testing::Test, private FrameReceiver::Owner {
 protected:
  StreamReaderTest()
      : center_(std::move(*EventCenter::create({}))),
        pool_(make_heap_buffer_pool(64u << 20, 0)),
        receiver_(*center_, *pool_, {}, *this, counters_),
        reader_(std::make_unique<StreamReader>(receiver_, counters_)) {
    receiver_.set_handler(&peer_);
  }
  ~StreamReaderTest() override { peer_.frames.clear(); }

  void put(uint64_t tid, std::string_view front, const std::string& data = {}) {
    Frame frame = test_frame(tid, front, data);
    seal_frame(frame, true);
    stream_.bytes.append(reinterpret_cast<const char*>(&frame.header), sizeof frame.header);
    stream_.bytes.append(front);
    stream_.bytes.append(data);
  }
  // As a link reads, until the stream is empty or the receiver wants no more.
  void read_all() {
    while (reader_->decode()) {
      const StreamReader::Received received = reader_->receive(stream_);
      if (received.result.would_block) return;
      if (received.placed_bytes != 0 && !receiver_.feed_payload(received.placed_bytes)) return;
    }
  }
  void on_receive_failed(std::error_code why) override { ADD_FAILURE() << why.message(); }
  void receive_resumed() override {}

  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<BufferPool> pool_;
  LinkCounters counters_;
  TestPeer peer_;
  FrameReceiver receiver_;
  std::unique_ptr<StreamReader> reader_;
  FakeStream stream_;
};

TEST_F(StreamReaderTest, ManySmallFramesComeWithOneCall) {
  for (uint64_t tid = 1; tid <= 10; ++tid) put(tid, "front", "data");
  ASSERT_TRUE(reader_->decode());
  EXPECT_TRUE(reader_->receive(stream_).has_drained);
  EXPECT_TRUE(reader_->has_unread());
  EXPECT_TRUE(reader_->decode());
  EXPECT_EQ(peer_.frames.size(), 10u);
  EXPECT_FALSE(reader_->has_unread());
  EXPECT_EQ(counters_.receive_calls, 1u);
}

TEST_F(StreamReaderTest, SmallPayloadsOfWhichOneIsCutTakeNoCallEach) {
  for (uint64_t tid = 1; tid <= 64; ++tid)
    put(tid, "front", test_pattern(4096, static_cast<unsigned>(tid)));
  const std::size_t bytes = stream_.bytes.size();
  read_all();
  ASSERT_EQ(peer_.frames.size(), 64u);
  EXPECT_EQ(as_text(peer_.frames[40].data), test_pattern(4096, 41));
  EXPECT_LE(counters_.receive_calls, bytes / (64u << 10) + 2) << "the last one finds nothing";
}

TEST_F(StreamReaderTest, WithALargePayloadLittleIsReadAhead) {
  put(1, "front", test_pattern(256u << 10, 1));
  reader_->receive(stream_);
  ASSERT_TRUE(reader_->decode());
  reader_->receive(stream_);
  ASSERT_EQ(stream_.asked.size(), 2u);
  EXPECT_LE(stream_.asked[1], 4u << 10);
}

TEST_F(StreamReaderTest, APayloadIsReceivedWhereItBelongs) {
  const std::string data = test_pattern(1u << 20, 1);
  put(1, "front", data);
  read_all();
  ASSERT_EQ(peer_.frames.size(), 1u);
  EXPECT_EQ(as_text(peer_.frames[0].data), data);
  EXPECT_LE(peer_.frames[0].copied_bytes, 64u << 10) << "only what was read ahead";
  EXPECT_EQ(counters_.bytes_received, sizeof(FrameHeader) + 5 + data.size());
}

TEST_F(StreamReaderTest, AfterALargePayloadLessIsReadAhead) {
  reader_->receive(stream_);
  const std::size_t at_first = stream_.asked.at(0);
  put(1, "front", test_pattern(256u << 10, 1));
  read_all();
  ASSERT_EQ(peer_.frames.size(), 1u);
  reader_->receive(stream_);
  EXPECT_LT(stream_.asked.at(0), at_first);
}

TEST_F(StreamReaderTest, WhatWasReadAheadWaitsWhileTheReceiverIsPaused) {
  put(1, "front");
  put(2, "front");
  peer_.also_on_frame = [this](ReceivedFrame&) { receiver_.pause(); };
  read_all();
  EXPECT_EQ(peer_.frames.size(), 1u);
  EXPECT_TRUE(reader_->has_unread());
  receiver_.resume();
  reader_->decode();
  EXPECT_EQ(peer_.frames.size(), 2u);
}

TEST_F(StreamReaderTest, MayBeDestroyedByTheHandlerOfAFrame) {
  put(1, "front");
  put(2, "front");
  peer_.also_on_frame = [this](ReceivedFrame&) {
    receiver_.stop();
    reader_.reset();
  };
  StreamReader* const reader = reader_.get();
  reader->receive(stream_);
  EXPECT_FALSE(reader->decode());
  EXPECT_EQ(peer_.frames.size(), 1u);
}

}  // namespace
}  // namespace lunar::msgr
