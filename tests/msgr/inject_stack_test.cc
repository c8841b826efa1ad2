// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/inject_stack.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "msgr/loopback/loopback_stack.h"
#include "tests/msgr/link_fixture.h"
#include "tests/support/manual_clock.h"

namespace lunar::msgr {
namespace {

class InjectStackTest : public testing::Test {
 protected:
  InjectStackTest() {
    EventCenter::Options options;
    options.time = &clock_;
    center_ = std::move(*EventCenter::create(options));
  }
  void connect(const InjectOptions& options) {
    stack_ = std::make_unique<InjectStack>(inner_, options);
    client_ = std::make_unique<TestPeer>();
    server_ = std::make_unique<TestPeer>();
    connect_pair(*center_, *stack_, Address::loopback(), *client_, *server_);
  }
  void disconnect() {
    client_->frames.clear();
    server_->frames.clear();
    close_all(*center_, {client_.get(), server_.get()});
  }
  // How many frames arrive before the link breaks.
  std::size_t frames_until_broken(const InjectOptions& options) {
    connect(options);
    SentCounter sent;
    const std::string data(500, 'd');
    for (uint64_t i = 0; i < 2000 && !client_->closed && !server_->closed; ++i) {
      client_->link->send(test_frame(i, "x", data), sent.add());
      center_->run_until_idle();
    }
    EXPECT_TRUE(sent.each_once());
    const std::size_t arrived = server_->frames.size();
    for (std::size_t i = 0; i < arrived; ++i) {
      EXPECT_EQ(server_->frames[i].header.tid.value(), i) << "none lost in between";
    }
    disconnect();
    return arrived;
  }

  test::ManualClock clock_;
  std::unique_ptr<EventCenter> center_;
  LoopbackStack inner_;
  std::unique_ptr<InjectStack> stack_;
  std::unique_ptr<TestPeer> client_, server_;
};

TEST_F(InjectStackTest, WithoutOptionsNothingHappens) {
  InjectOptions options;
  EXPECT_FALSE(options.has_any());
  EXPECT_EQ(frames_until_broken(options), 2000u);
  EXPECT_NE(stack_->seed(), 0u);
}

TEST_F(InjectStackTest, LinksBreakAsOftenAsAskedAndTheSameForTheSameSeed) {
  InjectOptions options;
  options.socket_failures = 50;
  std::size_t sum = 0;
  std::vector<std::size_t> all;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    options.seed = seed;
    const std::size_t first = frames_until_broken(options);
    EXPECT_EQ(frames_until_broken(options), first) << "seed " << seed;
    EXPECT_LT(first, 2000u);
    sum += first;
    all.push_back(first);
  }
  EXPECT_GT(sum / 20, 3u);
  EXPECT_LT(sum / 20, 60u);
  EXPECT_NE(std::count(all.begin(), all.end(), all[0]), 20) << "seeds differ";
}

TEST_F(InjectStackTest, TheBrokenSideIsToldSoAndTheOtherSeesALostPeer) {
  InjectOptions options;
  options.socket_failures = 1;
  options.seed = 1;
  connect(options);
  SentCounter sent;
  client_->link->send(test_frame(1, "x"), sent.add());
  center_->run_until_idle();
  ASSERT_TRUE(client_->closed && server_->closed);
  EXPECT_EQ(*client_->closed, MsgrErrc::kInjected);
  EXPECT_TRUE(sent.each_once());
  client_->link->send(test_frame(2, "late"), sent.add());
  center_->run_until_idle();
  EXPECT_TRUE(sent.each_once());
  EXPECT_TRUE(sent.results[1]);
  disconnect();
}

TEST_F(InjectStackTest, ALinkThatBrokeInsideIsClosedLikeAnyOther) {
  InjectOptions options;
  options.socket_failures = 1;
  options.seed = 1;
  connect(options);
  client_->link->send(test_frame(1, "x"), {});
  bool closed = false;
  client_->link->close([&] { closed = true; });
  EXPECT_FALSE(closed);
  center_->run_until_idle();
  EXPECT_TRUE(closed);
  EXPECT_FALSE(client_->closed) << "no handler after close()";
  client_->link.reset();
  disconnect();
}

TEST_F(InjectStackTest, DelayedFramesKeepTheirOrder) {
  InjectOptions options;
  options.delay_probability = 0.3;
  options.delay_max = std::chrono::milliseconds(50);
  options.seed = 5;
  connect(options);
  const std::string data(5000, 'd');
  for (uint64_t i = 0; i < 200; ++i) client_->link->send(test_frame(i, "x", data), {});
  center_->run_until_idle();
  EXPECT_LT(server_->frames.size(), 200u);
  for (int i = 0; i < 500 && server_->frames.size() < 200; ++i) {
    clock_.advance(std::chrono::milliseconds(50));
    center_->run_until_idle();
  }
  ASSERT_EQ(server_->frames.size(), 200u);
  for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(server_->frames[i].header.tid.value(), i);
  disconnect();
}

TEST_F(InjectStackTest, AHandlersBoundOfFrontsHolds) {
  struct Bounded final : LinkHandler {
    std::optional<std::error_code> closed;
    Bytes payload_for(const FrameHeader&, ConstBytes) override { return {}; }
    uint32_t max_front_bytes() const noexcept override { return 10; }
    void on_frame(ReceivedFrame) override { ADD_FAILURE() << "too long"; }
    void on_closed(std::error_code why) override { closed = why; }
  };
  connect({});
  Bounded bounded;
  server_->link->set_handler(&bounded);
  client_->link->send(test_frame(1, "eleven bytes"), {});
  center_->run_until_idle();
  EXPECT_EQ(bounded.closed, MsgrErrc::kTooLong);
  disconnect();
}

TEST_F(InjectStackTest, APausedLinkDeliversNoDelayedFrames) {
  InjectOptions options;
  options.delay_probability = 1;
  options.delay_max = std::chrono::milliseconds(1);
  options.seed = 5;
  connect(options);
  client_->link->send(test_frame(1, "x"), {});
  center_->run_until_idle();
  server_->link->pause_reading();
  clock_.advance(std::chrono::milliseconds(5));
  center_->run_until_idle();
  EXPECT_TRUE(server_->frames.empty());
  server_->link->resume_reading();
  center_->run_until_idle();
  EXPECT_EQ(server_->frames.size(), 1u);
  disconnect();
}

TEST_F(InjectStackTest, AbandoningDropsAFrameThatIsHeldBack) {
  InjectOptions options;
  options.delay_probability = 1;
  options.delay_max = std::chrono::milliseconds(1);
  options.seed = 5;
  connect(options);
  std::vector<std::byte> memory(5);
  server_->place = [&](const FrameHeader&) { return Bytes(memory); };
  client_->link->send(test_frame(1, "", "12345"), {});
  client_->link->send(test_frame(2, "next"), {});
  center_->run_until_idle();
  server_->link->abandon_payload(1);
  for (int i = 0; i < 5; ++i) {
    clock_.advance(std::chrono::milliseconds(5));
    center_->run_until_idle();
  }
  ASSERT_EQ(server_->frames.size(), 1u);
  EXPECT_EQ(server_->frames[0].header.tid.value(), 2u);
  disconnect();
}

}  // namespace
}  // namespace lunar::msgr
