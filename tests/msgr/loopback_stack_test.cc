// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Steps of the loopback stack that fail, stall or are cut short, and its one-sided operations.

#include "msgr/loopback/loopback_stack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/msgr/link_fixture.h"
#include "tests/support/manual_clock.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;

struct Injector final : LoopbackInjector {
  std::function<Verdict()> connect, accept;
  std::function<Verdict(std::size_t)> send, receive;
  Verdict on_connect(const Address&) override { return connect ? connect() : Verdict(); }
  Verdict on_accept(const Address&) override { return accept ? accept() : Verdict(); }
  Verdict on_send(const Address&, std::size_t n) override { return send ? send(n) : Verdict(); }
  Verdict on_receive(const Address&, std::size_t n) override {
    return receive ? receive(n) : Verdict();
  }
};
using Verdict = LoopbackInjector::Verdict;

class LoopbackTest : public testing::Test {
 protected:
  LoopbackTest() {
    EventCenter::Options options;
    options.time = &clock_;
    center_ = std::move(*EventCenter::create(options));
    make(256 << 10);
  }
  ~LoopbackTest() override {
    client_.frames.clear();
    server_.frames.clear();
    if (center_) close_all(*center_, {&client_, &server_});
  }
  void make(std::size_t pipe_bytes) {
    LoopbackOptions options;
    options.injector = &injector_;
    options.one_sided = true;
    options.pipe_bytes = pipe_bytes;
    stack_ = std::make_unique<LoopbackStack>(options);
  }
  void connect() { connect_pair(*center_, *stack_, Address::loopback(), client_, server_); }

  test::ManualClock clock_;
  Injector injector_;
  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<LoopbackStack> stack_;
  TestPeer client_, server_;
};

TEST_F(LoopbackTest, ByteByByteBothWaysIsTheSameFrames) {
  make(1);
  injector_.send = injector_.receive = [](std::size_t) { return Verdict{{}, {}, 1}; };
  connect();
  const std::string data = test_pattern(500, 1);
  SentCounter sent;
  for (uint64_t i = 0; i < 5; ++i) {
    client_.link->send(test_frame(i, "front", data), sent.add());
    server_.link->send(test_frame(i, "front", data), sent.add());
  }
  center_->run_until_idle();
  ASSERT_EQ(server_.frames.size(), 5u);
  ASSERT_EQ(client_.frames.size(), 5u);
  EXPECT_EQ(as_text(server_.frames[4].data), data);
  EXPECT_TRUE(sent.each_once());
}

TEST_F(LoopbackTest, EveryCutInAFrameEndsBothSidesOnce) {
  const std::string data(100, 'd');
  const std::size_t length = 64 + 5 + 100;
  for (std::size_t cut = 0; cut < length; cut += 7) {
    connect();
    std::vector<std::byte> memory(100);
    server_.place = [&](const FrameHeader&) { return Bytes(memory); };
    bool done = false;
    injector_.send = [&](std::size_t) {
      return std::exchange(done, true)
                 ? Verdict()
                 : Verdict{std::make_error_code(std::errc::io_error), {}, cut};
    };
    SentCounter sent;
    client_.link->send(test_frame(1, "front", data), sent.add());
    center_->run_until_idle();
    EXPECT_TRUE(client_.closed.has_value());
    EXPECT_TRUE(server_.closed.has_value());
    EXPECT_TRUE(server_.frames.empty());
    EXPECT_TRUE(sent.each_once());
    EXPECT_TRUE(sent.results[0]);
    close_all(*center_, {&client_, &server_});
    client_.closed.reset();
    server_.closed.reset();
    injector_.send = nullptr;
  }
}

TEST_F(LoopbackTest, AFrameOfMorePartsThanOneCallTakes) {
  connect();
  const std::string data = test_pattern(5000, 2);
  Frame frame = test_frame(1, "front");
  for (std::size_t i = 0; i < data.size(); ++i) {
    frame.data.push_back(as_const_bytes(data).subspan(i, 1));
  }
  SentCounter sent;
  client_.link->send(std::move(frame), sent.add());
  center_->run_until_idle();
  ASSERT_EQ(server_.frames.size(), 1u);
  EXPECT_EQ(as_text(server_.frames[0].data), data);
  EXPECT_TRUE(sent.each_once());
}

TEST_F(LoopbackTest, ADelayedSendArrivesLater) {
  connect();
  bool once = false;
  injector_.send = [&](std::size_t) {
    return std::exchange(once, true) ? Verdict() : Verdict{{}, milliseconds(10)};
  };
  client_.link->send(test_frame(1, "x"), {});
  center_->run_until_idle();
  EXPECT_TRUE(server_.frames.empty());
  clock_.advance(milliseconds(10));
  center_->run_until_idle();
  EXPECT_EQ(server_.frames.size(), 1u);
}

TEST_F(LoopbackTest, ConnectAndAcceptCanFailOrComeLate) {
  const auto listener = std::move(*stack_->listen(
      *center_, Address::loopback(), [&](auto link) { server_.attach(std::move(link)); }));
  std::error_code result;
  const auto try_connect = [&] {
    auto pending = stack_->connect(*center_, listener->local_address(), [&](auto link) {
      if (link) {
        client_.attach(std::move(*link));
      } else {
        result = link.error();
      }
    });
    center_->run_until_idle();
    clock_.advance(milliseconds(5));
    center_->run_until_idle();
  };
  injector_.connect = [] { return Verdict{std::make_error_code(std::errc::timed_out)}; };
  try_connect();
  EXPECT_EQ(result, std::errc::timed_out);
  injector_.connect = [] { return Verdict{{}, milliseconds(5)}; };
  injector_.accept = [] { return Verdict{std::make_error_code(std::errc::io_error)}; };
  try_connect();
  ASSERT_NE(client_.link, nullptr);
  EXPECT_TRUE(client_.closed.has_value());
  EXPECT_EQ(server_.link, nullptr);
  close_all(*center_, {&client_});
  client_.closed.reset();
  injector_.accept = [] { return Verdict{{}, milliseconds(5)}; };
  try_connect();
  EXPECT_EQ(server_.link, nullptr);
  clock_.advance(milliseconds(5));
  center_->run_until_idle();
  EXPECT_NE(server_.link, nullptr);
  EXPECT_FALSE(client_.closed.has_value());
}

TEST_F(LoopbackTest, OneSidedMovesReachExposedMemoryAndNothingElse) {
  connect();
  ASSERT_TRUE(client_.link->capabilities().one_sided);
  std::vector<std::byte> exposed(8192, std::byte{7});
  RemoteKey key = stack_->expose(exposed, 3);
  key.addr += 100;
  key.length = 4096;
  RegisteredBuffer local = stack_->buffers().allocate(8192);
  std::memset(local.bytes().data(), 1, 8192);
  SentCounter done;
  server_.link->remote_read(key, {&local, 0, 4096}, done.add());
  EXPECT_EQ(done.total(), 0u);
  center_->run_until_idle();
  ASSERT_EQ(done.total(), 1u);
  EXPECT_FALSE(done.results[0]);
  EXPECT_EQ(local.bytes()[4095], std::byte{7});
  EXPECT_EQ(local.bytes()[4096], std::byte{1});

  server_.link->remote_write({&local, 4096, 4096}, key, done.add());
  server_.link->send(test_frame(1, "reply"), {});
  center_->run_until_idle();
  EXPECT_EQ(client_.frames.size(), 1u);
  EXPECT_EQ(exposed[99], std::byte{7});
  EXPECT_EQ(exposed[100], std::byte{1});
  EXPECT_EQ(exposed[4196], std::byte{7});

  stack_->revoke(key);
  server_.link->remote_write({&local, 0, 4096}, key, done.add());
  center_->run_until_idle();
  EXPECT_EQ(done.results[2], std::errc::permission_denied);
  EXPECT_EQ(*server_.closed, std::errc::permission_denied);
  EXPECT_TRUE(client_.closed.has_value());
}

TEST_F(LoopbackTest, AKeyOfAnotherGenerationOrRangeIsRefused) {
  std::vector<std::byte> exposed(4096);
  const RemoteKey good = stack_->expose(exposed, 3);
  RegisteredBuffer local = stack_->buffers().allocate(8192);
  const auto refused = [&](auto change, uint32_t length) {
    connect();
    RemoteKey key = good;
    change(key);
    SentCounter done;
    client_.link->remote_read(key, {&local, 0, length}, done.add());
    center_->run_until_idle();
    EXPECT_EQ(done.results[0], std::errc::permission_denied);
    close_all(*center_, {&client_, &server_});
    client_.closed.reset();
    server_.closed.reset();
  };
  refused([](RemoteKey& key) { key.link_generation = 4; }, 4096);
  refused([](RemoteKey& key) { key.rkey += 1; }, 4096);
  refused([](RemoteKey& key) { key.addr -= 1; }, 4096);
  refused([](RemoteKey& key) { key.addr += 1; }, 4096);
  refused([](RemoteKey& key) { key.addr = UINT64_MAX; }, 4096);
  refused([](RemoteKey& key) { key.length = 4097; }, 4097);
}

}  // namespace
}  // namespace lunar::msgr
