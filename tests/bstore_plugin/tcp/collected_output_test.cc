// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/tcp/collected_output.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/bstore_plugin/tcp/socket_pair.h"

namespace lunar::bstore_plugin {
namespace {

using Flushed = CollectedOutput::Flushed;

class CollectedOutputTest : public testing::Test {
 protected:
  void copy(const std::string& bytes) { EXPECT_TRUE(output_.add_copy(bytes.data(), bytes.size())); }
  CommandBuffers::Buffer& filled(std::size_t bytes, char with) {
    CommandBuffers::Buffer* const buffer = buffers_.allocate(bytes, &owner_);
    std::memset(buffer->begin, with, bytes);
    return *buffer;
  }

  test::SocketPair sockets_;
  CommandBuffers buffers_;
  BufferOwner owner_;
  PerfCounter calls_;
  CollectedOutput output_{sockets_.fd(), buffers_, calls_};
};

TEST_F(CollectedOutputTest, SendsEverythingInOrderWithOneCall) {
  CommandBuffers::Buffer& data = filled(5000, 'd');
  copy("head");
  copy("er");
  output_.add_reference(data, data.begin + 1, 4999);
  copy("tail");
  EXPECT_EQ(output_.bytes(), 6u + 4999 + 4);
  buffers_.release(data);
  EXPECT_EQ(output_.flush(), Flushed::kSent);
  EXPECT_EQ(sockets_.peer_receives(), "header" + std::string(4999, 'd') + "tail");
  EXPECT_EQ(calls_.value(), 1u);
  EXPECT_EQ(output_.bytes(), 0u);
}

TEST_F(CollectedOutputTest, HoldsABufferUntilItIsSent) {
  CommandBuffers::Buffer& data = filled(4096, 'd');
  output_.add_reference(data, data.begin, 2048);
  output_.add_reference(data, data.begin + 2048, 2048);
  buffers_.release(data);  // tgt's
  EXPECT_EQ(owner_.buffers, 1u);
  EXPECT_EQ(output_.flush(), Flushed::kSent);
  EXPECT_EQ(owner_.buffers, 0u);
}

TEST_F(CollectedOutputTest, CopiesMoreThanABuffer) {
  std::string all;
  for (int i = 0; i < 3000; ++i) {
    const std::string one = "pdu " + std::to_string(i) + ";";
    copy(one);
    all += one;
  }
  const std::string large(40000, 'L');
  copy(large);
  EXPECT_EQ(output_.flush(), Flushed::kSent);
  EXPECT_EQ(sockets_.peer_receives(), all + large);
}

TEST_F(CollectedOutputTest, GoesOnAfterAPartialSend) {
  std::string all, received;
  for (int i = 0; i < 64; ++i) {
    CommandBuffers::Buffer& data = filled(65536, static_cast<char>('A' + i % 26));
    copy("hdr");
    output_.add_reference(data, data.begin, 65536);
    all += "hdr" + std::string(65536, static_cast<char>('A' + i % 26));
    buffers_.release(data);
  }
  EXPECT_EQ(output_.flush(), Flushed::kBlocked);
  EXPECT_GT(output_.bytes(), 0u);
  EXPECT_EQ(output_.flush(), Flushed::kBlocked);  // at once, without a byte
  while (output_.bytes() > 0) {
    received += sockets_.peer_receives(50001);
    output_.flush();
  }
  received += sockets_.peer_receives();
  EXPECT_TRUE(received == all);
  EXPECT_EQ(owner_.buffers, 0u);
}

TEST_F(CollectedOutputTest, SendsMorePartsThanOneCallTakes) {
  std::string all;
  CommandBuffers::Buffer& data = filled(4096, 'd');
  for (int i = 0; i < 600; ++i) {
    output_.add_reference(data, data.begin, 10);
    copy(std::to_string(i));
    all += std::string(10, 'd') + std::to_string(i);
  }
  buffers_.release(data);
  EXPECT_EQ(output_.flush(), Flushed::kSent);
  EXPECT_EQ(sockets_.peer_receives(), all);
}

TEST_F(CollectedOutputTest, IsEmptyOnceTheConnectionIsBroken) {
  CommandBuffers::Buffer& data = filled(4096, 'd');
  sockets_.close_peer();
  copy("header");
  output_.add_reference(data, data.begin, 4096);
  buffers_.release(data);
  EXPECT_EQ(output_.flush(), Flushed::kBroken);
  EXPECT_EQ(output_.bytes(), 0u);
  EXPECT_EQ(owner_.buffers, 0u);
}

}  // namespace
}  // namespace lunar::bstore_plugin
