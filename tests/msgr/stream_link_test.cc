// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Cases that only sockets have: damaged bytes, options, a lack of descriptors.

#include "msgr/net/stream_link.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/file.h"
#include "msgr/posix/posix_stack.h"
#include "tests/msgr/link_fixture.h"
#include "tests/support/manual_clock.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;

std::vector<std::byte> wire_of(Frame frame) {
  seal_frame(frame, true);
  const auto* header = reinterpret_cast<const std::byte*>(&frame.header);
  std::vector<std::byte> out(header, header + sizeof frame.header);
  out.insert(out.end(), frame.front.begin(), frame.front.end());
  for (const ConstBytes part : frame.data) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// A peer that writes any bytes.
class RawSocketTest : public testing::TestWithParam<const char*> {
 protected:
  RawSocketTest()
      : center_(std::move(*EventCenter::create({}))), stack_(std::move(*PosixStack::create({}))) {
    listener_ = std::move(*stack_->listen(*center_, *Address::parse(GetParam()),
                                          [this](auto link) { server_.attach(std::move(link)); }));
    sockaddr_storage storage;
    const socklen_t length = listener_->local_address().to_sockaddr(storage);
    raw_ = UniqueFd(socket(storage.ss_family, SOCK_STREAM, 0));
    EXPECT_EQ(connect(raw_.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    EXPECT_TRUE(test::turn_until(*center_, [&] { return server_.link != nullptr; }));
  }
  ~RawSocketTest() override {
    server_.frames.clear();
    close_all(*center_, {&server_});
  }
  void write(ConstBytes bytes) {
    ASSERT_EQ(::send(raw_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  std::error_code closed_with() {
    EXPECT_TRUE(test::turn_until(*center_, [&] { return server_.closed.has_value(); }));
    return server_.closed.value_or(std::error_code());
  }
  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<PosixStack> stack_;
  std::unique_ptr<Listener> listener_;
  TestPeer server_;
  UniqueFd raw_;
};

TEST_P(RawSocketTest, GoodBytesAreAFrame) {
  write(wire_of(test_frame(7, "front", "data")));
  ASSERT_TRUE(test::turn_until(*center_, [&] { return server_.frames.size() == 1; }));
  EXPECT_EQ(as_text(server_.frames[0].data), "data");
}

TEST_P(RawSocketTest, ABadMagicClosesAfterTheFramesBefore) {
  auto bytes = wire_of(test_frame(7, "good"));
  const std::string http =
      "GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n" + std::string(40, ' ');
  for (const std::byte b : as_const_bytes(http)) {
    bytes.push_back(b);
  }
  write(bytes);
  EXPECT_EQ(closed_with(), MsgrErrc::kBadMagic);
  EXPECT_EQ(server_.frames.size(), 1u);
  char byte;
  EXPECT_LE(recv(raw_.get(), &byte, 1, 0), 0) << "the peer sees the end";
}

TEST_P(RawSocketTest, ADamagedHeaderFrontOrDataCloses) {
  const auto good = wire_of(test_frame(7, "front", "data"));
  auto bytes = good;
  bytes.back() ^= std::byte{1};
  write(bytes);
  EXPECT_EQ(closed_with(), MsgrErrc::kBadCrc);
  EXPECT_TRUE(server_.frames.empty());
  EXPECT_EQ(stack_->buffers().bytes_in_use(), 0u);
}

TEST_P(RawSocketTest, DamagedDataInMemoryThatWasLentIsNeverDelivered) {
  std::vector<std::byte> memory(100'000);
  server_.place = [&](const FrameHeader&) { return Bytes(memory); };
  const std::string data(memory.size(), 'd');
  auto bytes = wire_of(test_frame(7, "front", data));
  bytes[bytes.size() / 2] ^= std::byte{1};
  write(bytes);
  EXPECT_EQ(closed_with(), MsgrErrc::kBadCrc);
  EXPECT_TRUE(server_.frames.empty());
}

TEST_P(RawSocketTest, ALengthAboveTheLimitCloses) {
  Frame frame = test_frame(7, "");
  seal_frame(frame, false);
  frame.header.data_length = UINT32_MAX;
  write({reinterpret_cast<const std::byte*>(&frame.header), sizeof frame.header});
  EXPECT_EQ(closed_with(), MsgrErrc::kTooLong);
}

TEST_P(RawSocketTest, AnEndInsideAHeaderIsAClosedPeer) {
  write(ConstBytes(wire_of(test_frame(7, "x"))).first(30));
  raw_.reset();
  EXPECT_EQ(closed_with(), MsgrErrc::kClosedByPeer);
}

TEST_P(RawSocketTest, AResetIsNoticedByAPausedLinkWithoutSpinning) {
  server_.link->pause_reading();
  const linger hard{1, 0};
  ASSERT_EQ(setsockopt(raw_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
  raw_.reset();
  EXPECT_EQ(closed_with(), std::errc::connection_reset);
}

TEST_P(RawSocketTest, BytesThatDribbleInAreAFrame) {
  for (const std::byte b : wire_of(test_frame(7, "front", "data"))) {
    write({&b, 1});
    center_->run_until_idle();
  }
  ASSERT_TRUE(test::turn_until(*center_, [&] { return server_.frames.size() == 1; }));
}

INSTANTIATE_TEST_SUITE_P(Posix, RawSocketTest, testing::Values("127.0.0.1:0", "[::1]:0"),
                         [](const auto& info) { return info.index == 0 ? "Ipv4" : "Ipv6"; });

TEST(PosixStackTest, OptionsReachBothSockets) {
  const auto center = std::move(*EventCenter::create({}));
  PosixStackOptions options;
  options.tcp_congestion = "reno";  // always built in
  const auto stack = std::move(*PosixStack::create(options));
  TestPeer client, server;
  connect_pair(*center, *stack, Address::loopback(), client, server);
  client.link->send(test_frame(1, "x"), {});
  EXPECT_TRUE(test::turn_until(*center, [&] { return server.frames.size() == 1; }));
  close_all(*center, {&client, &server});
}

TEST(PosixStackTest, AnUnknownCongestionControlIsASentence) {
  PosixStackOptions options;
  options.tcp_congestion = "no-such-thing";
  const auto stack = PosixStack::create(options);
  ASSERT_FALSE(stack);
  EXPECT_NE(stack.error().message.find("no-such-thing"), std::string::npos);
}

TEST(PosixStackTest, AnAddressOfNoInterfaceIsASentence) {
  const auto center = std::move(*EventCenter::create({}));
  const auto stack = std::move(*PosixStack::create({}));
  const auto listener = stack->listen(*center, *Address::parse("192.0.2.1:0"), [](auto) {});
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code, std::errc::address_not_available);
  EXPECT_NE(listener.error().message.find("192.0.2.1:0"), std::string::npos);
}

// The limit is that of the whole process, in which other threads may want to open something: so
// only in one of its own.
void listen_without_descriptors() {
  test::ManualClock clock;
  EventCenter::Options center_options;
  center_options.time = &clock;
  const auto center = std::move(*EventCenter::create(center_options));
  const auto stack = std::move(*PosixStack::create({}));
  int accepted = 0;
  const auto listener =
      std::move(*stack->listen(*center, Address::loopback(), [&](auto) { ++accepted; }));
  sockaddr_storage storage;
  const socklen_t length = listener->local_address().to_sockaddr(storage);
  UniqueFd raw(socket(AF_INET, SOCK_STREAM, 0));
  // No number is below this limit: it holds whatever other threads close meanwhile.
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = 0;
  ASSERT_EQ(connect(raw.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const int turns = center->run_until_idle();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_LE(turns, 2) << "a listener that cannot accept must not spin";
  EXPECT_EQ(accepted, 0);
  center->run_until_idle();
  EXPECT_EQ(accepted, 0);
  clock.advance(milliseconds(100));
  center->run_until_idle();
  EXPECT_EQ(accepted, 1);
}

TEST(PosixStackDeathTest, WithoutDescriptorsTheListenerWaitsAndThenAccepts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // starts this program again
  EXPECT_EXIT(
      {
        listen_without_descriptors();
        std::exit(HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace lunar::msgr
