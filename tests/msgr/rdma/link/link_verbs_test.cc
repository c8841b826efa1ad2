// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Frames over RDMA links: copies, credits, buffers, the ends of links, and that nothing is left
// behind. One-sided operations: remote_verbs_test.cc.

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "common/memlock.h"
#include "tests/msgr/rdma/link/rdma_link_fixture.h"
#include "tests/support/descriptors.h"

namespace lunar::msgr::rdma {
namespace {

TEST_P(RdmaLinkTest, RegisteredPayloadIsSentWithoutACopy) {
  connect();
  const RegisteredBuffer payload = filled(kMiB, 1);
  Frame frame = test_frame(1, "front");
  frame.data.push_back(payload.bytes());
  client_.link->send(std::move(frame), {});
  ASSERT_TRUE(until([&] { return server_.frames.size() == 1; }));
  EXPECT_TRUE(std::ranges::equal(server_.frames[0].data, payload.bytes()));
  EXPECT_GT(counted(client_, Count::kGatheredBytes), kMiB - 1024);
  EXPECT_LT(counted(client_, Count::kCopiedBytes), 1024u);
}

TEST_P(RdmaLinkTest, SixtyFourMegabytesGoInlineInFrames) {
  connect();
  const std::string data = test_pattern(16 * kMiB, 1);
  std::size_t arrived = 0;
  server_.also_on_frame = [&](ReceivedFrame& frame) {
    EXPECT_TRUE(as_text(frame.data) == data);
    ++arrived;
    server_.frames.clear();
  };
  SentCounter sent;
  for (uint64_t i = 0; i < 4; ++i) client_.link->send(test_frame(i, "", data), sent.add());
  ASSERT_TRUE(until([&] { return arrived == 4 && sent.total() == 4; }));
  EXPECT_EQ(counted(client_, Count::kRnrErrors), 0u);
}

TEST_P(RdmaLinkTest, BothEndsMaySendWithoutReadingAtFirst) {
  connect();
  const std::string data = test_pattern(kMiB, 1);
  client_.link->pause_reading();
  server_.link->pause_reading();
  SentCounter sent;
  for (uint64_t i = 0; i < 4; ++i) {
    client_.link->send(test_frame(i, "", data), sent.add());
    server_.link->send(test_frame(i, "", data), sent.add());
  }
  center_->run_until_idle();
  EXPECT_EQ(sent.total(), 0u);
  client_.link->resume_reading();
  server_.link->resume_reading();
  ASSERT_TRUE(until([&] { return sent.total() == 8; }));
  ASSERT_TRUE(until([&] { return client_.frames.size() == 4 && server_.frames.size() == 4; }));
}

TEST_P(RdmaLinkTest, FewBounceBuffersAreEnough) {
  options_.send_buffers = 2;
  connect();
  const std::string data = test_pattern(kMiB, 1);
  for (uint64_t i = 0; i < 3; ++i) {
    client_.link->send(test_frame(i, "", data), {});
    server_.link->send(test_frame(i, "", data), {});
  }
  ASSERT_TRUE(until([&] { return client_.frames.size() == 3 && server_.frames.size() == 3; }));
}

TEST_P(RdmaLinkTest, AShortSendQueueIsEnough) {
  options_.send_queue_len = 16;
  connect();
  const std::string data = test_pattern(2 * kMiB, 1);
  const RegisteredBuffer exposed = filled(kMiB, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  const RegisteredBuffer local = filled(kMiB, 2);
  for (uint64_t i = 0; i < 3; ++i) server_.link->send(test_frame(i, "", data), {});
  EXPECT_FALSE(read(server_, key, local));
  ASSERT_TRUE(until([&] { return client_.frames.size() == 3; }));
}

TEST_P(RdmaLinkTest, DestroyedAtAnyMomentALinkLeavesItsPeerABoundedEnd) {
  for (int moment = 0; moment < 6; ++moment) {
    SCOPED_TRACE(moment);
    client_ = TestPeer();
    server_ = TestPeer();
    connect();
    const std::string data = test_pattern(kMiB, 1);
    SentCounter sent;
    for (uint64_t i = 0; i < 4; ++i) client_.link->send(test_frame(i, "", data), sent.add());
    bool closed = false;
    if (moment >= 3) client_.link->close([&] { closed = true; });
    for (int turn = 0; turn < moment % 3; ++turn) center_->process();
    client_.link.reset();
    ASSERT_TRUE(until([&] { return sent.total() == 4; }));
    EXPECT_TRUE(sent.each_once());
    EXPECT_EQ(closed, moment >= 3);
    // Perhaps nobody told the peer, which then notices when it sends.
    SentCounter replies;
    server_.link->send(test_frame(1, "anyone?"), replies.add());
    ASSERT_TRUE(until([&] { return server_.closed && replies.total() == 1; }));
  }
}

TEST_P(RdmaLinkTest, AFailedLinkMayBeClosedWhileItEnds) {
  connect();
  SentCounter sent;
  const std::string data = test_pattern(kMiB, 1);
  client_.link->send(test_frame(1, "", data), sent.add());
  static_cast<RdmaLink&>(*client_.link).fail(std::make_error_code(std::errc::io_error));
  bool closed = false;
  client_.link->close([&] { closed = true; });
  ASSERT_TRUE(until([&] { return closed && server_.closed; }));
  EXPECT_FALSE(client_.closed);
  EXPECT_EQ(sent.total(), 1u);
}

TEST_P(RdmaLinkTest, ADeviceThatIsGoneEndsItsLinks) {
  connect();
  stack_->device()->set_gone();
  stack_->table().on_device_gone(*stack_->device());
  ASSERT_TRUE(until([&] { return client_.closed && server_.closed; }));
  EXPECT_EQ(*client_.closed, std::errc::no_such_device);
}

TEST_P(RdmaLinkTest, ACqThatFailsEndsTheLinksOnItAndNoOthers) {
  connect();
  std::shared_ptr<Worker> worker;
  const auto port = LoopPort::open(*center_);
  stack_->table().get(*center_, port, stack_->device(),
                      [&](Result<std::shared_ptr<Worker>> got) { worker = got.value_or(nullptr); });
  ASSERT_TRUE(until([&] { return worker != nullptr; }));
  port->close();
  const uint64_t before = worker->counters().value(Count::kAsyncEvents);
  const auto report = [&](ibv_cq* cq) {
    ibv_async_event event{};
    event.event_type = IBV_EVENT_CQ_ERR;
    event.element.cq = cq;
    stack_->table().on_async_event(*stack_->device(), event);
    center_->run_until_idle();
  };
  report(nullptr);
  EXPECT_EQ(worker->counters().value(Count::kAsyncEvents), before);
  EXPECT_EQ(rdma(client_).qp_state(), QpState::kReadyToSend);
  report(worker->resources().cq());
  EXPECT_EQ(worker->counters().value(Count::kAsyncEvents), before + 1);
  ASSERT_TRUE(until([&] { return client_.closed && server_.closed; }));
  EXPECT_EQ(*client_.closed, std::errc::io_error);
}

// --- what is left behind -----------------------------------------------------------------------

// Objects of this kind on all devices, by rdma(8).
std::string resources() {
  std::string out;
  FILE* pipe = popen("rdma res show", "r");
  EXPECT_NE(pipe, nullptr);
  char line[512];
  while (pipe != nullptr && fgets(line, sizeof line, pipe) != nullptr) out += line;
  if (pipe != nullptr) pclose(pipe);
  return out;
}

TEST_P(RdmaLinkTest, TwoHundredConnectionsLeaveNothingBehind) {
  const auto cycle = [this] {
    client_ = TestPeer();
    server_ = TestPeer();
    connect();
    client_.link->send(test_frame(1, "hello"), {});
    EXPECT_TRUE(until([&] { return server_.frames.size() == 1; }));
    server_.frames.clear();
    close_all(*center_, {&client_, &server_});
    stack_->settle();
  };
  cycle();
  const auto descriptors = test::own_descriptors();
  const std::string before = resources();
  const std::size_t pinned = bytes_pinned();
  EXPECT_NE(before.find("qp"), std::string::npos) << before;
  for (int i = 0; i < 200; ++i) cycle();
  EXPECT_EQ(test::own_descriptors(), descriptors);
  EXPECT_EQ(resources(), before);
  EXPECT_EQ(bytes_pinned(), pinned);
}

TEST_P(RdmaLinkTest, AnIdleLinkHoldsLittleMemory) {
  connect();
  const std::size_t with_one = bytes_pinned();
  TestPeer client, server;
  connect_pair(*center_, *stack_, *Address::parse("127.0.0.1:0"), client, server);
  if (GetParam()) {
    EXPECT_EQ(bytes_pinned(), with_one);
    EXPECT_LE((rdma(client_).credits() + kControlBuffers) * options_.segment_bytes, 64u << 10);
  }
  close_all(*center_, {&client, &server});
}

INSTANTIATE_TEST_SUITE_P(All, RdmaLinkTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Srq" : "NoSrq"; });

}  // namespace
}  // namespace lunar::msgr::rdma
