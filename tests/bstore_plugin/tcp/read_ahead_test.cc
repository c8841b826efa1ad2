// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/tcp/read_ahead.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/bstore_plugin/tcp/socket_pair.h"

namespace lunar::bstore_plugin {
namespace {

using Arrival = ReadAhead::Arrival;

class ReadAheadTest : public testing::Test {
 protected:
  std::string read(std::size_t bytes) {
    std::string to(bytes, '\0');
    const ReadAhead::Gained got = ahead_.read(to.data(), bytes);
    arrival_ = got.arrival;
    to.resize(got.bytes);
    return to;
  }

  test::SocketPair sockets_;
  ReadAheadBlocks blocks_;
  PerfCounter calls_;
  ReadAhead ahead_{sockets_.fd(), blocks_, calls_};
  Arrival arrival_ = Arrival::kEnd;
};

TEST_F(ReadAheadTest, ReadsABurstWithOneCall) {
  sockets_.peer_sends("headerpayloadnext");
  EXPECT_EQ(read(6), "header");
  EXPECT_TRUE(ahead_.has_bytes());
  EXPECT_EQ(read(7), "payload");
  EXPECT_EQ(read(100), "next");
  EXPECT_EQ(read(1), "");
  EXPECT_EQ(arrival_, Arrival::kNothing);
  EXPECT_EQ(calls_.value(), 1u);  // it was known that the socket had no more
}

TEST_F(ReadAheadTest, AsksTheSocketAgainOnceItIsReadable) {
  EXPECT_EQ(read(1), "");
  sockets_.peer_sends("x");
  EXPECT_EQ(read(1), "");
  EXPECT_EQ(arrival_, Arrival::kNothing);
  ahead_.on_readable();
  EXPECT_EQ(read(1), "x");
}

TEST_F(ReadAheadTest, ReadsALargePayloadStraightToItsPlace) {
  std::string sent(100000, 'a');
  sent += "behind";
  sockets_.peer_sends(sent);
  EXPECT_EQ(read(100000), std::string(100000, 'a'));
  EXPECT_EQ(calls_.value(), 1u);
  EXPECT_EQ(read(6), "behind");
}

TEST_F(ReadAheadTest, GoesOnWhereAFullBlockEnded) {
  const std::string sent(ReadAheadBlocks::kBlockBytes + 5000, 'b');
  sockets_.peer_sends(sent);
  std::string all = read(1);
  while (all.size() < sent.size()) {
    const std::string more = read(1000);
    ASSERT_EQ(arrival_, Arrival::kBytes);
    all += more;
  }
  EXPECT_EQ(all, sent);
  EXPECT_EQ(calls_.value(), 2u);
}

TEST_F(ReadAheadTest, TellsTheEndAfterAllBytes) {
  sockets_.peer_sends("last");
  sockets_.close_peer();
  EXPECT_EQ(read(2), "la");
  EXPECT_EQ(read(2), "st");
  EXPECT_EQ(read(1), "");
  EXPECT_EQ(arrival_, Arrival::kNothing);
  ahead_.on_readable();
  EXPECT_EQ(read(1), "");
  EXPECT_EQ(arrival_, Arrival::kEnd);
}

TEST_F(ReadAheadTest, NeedsNoBlockWhileItHasNoBytes) {
  sockets_.peer_sends("ab");
  EXPECT_EQ(read(1), "a");
  ahead_.give_block_back();
  EXPECT_EQ(read(1), "b");
  ahead_.give_block_back();
  // The next one gets the block that this one gave back, with what was in it.
  const std::unique_ptr<std::byte[]> block = blocks_.take();
  EXPECT_EQ(static_cast<char>(block[0]), 'b');
}

}  // namespace
}  // namespace lunar::bstore_plugin
