// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What only RDMA links can show, on a real (or software) device: one-sided operations and their
// errors, keys and their end, credits, and that nothing is left behind.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "msgr/rdma/memlock.h"
#include "msgr/rdma/rdma_link.h"
#include "tests/msgr/link_fixture.h"
#include "tests/msgr/rdma/joined_stack.h"

namespace lunar::msgr::rdma {
namespace {

constexpr std::size_t kMiB = 1u << 20;

class RdmaLinkTest : public testing::TestWithParam<bool> {
 protected:
  RdmaLinkTest() : center_(std::move(*EventCenter::create({}))) {
    options_ = JoinedStack::test_options();
    options_.use_srq = GetParam();
  }
  void TearDown() override {
    client_.frames.clear();
    server_.frames.clear();
    close_all(*center_, {&client_, &server_});
  }
  void connect() {
    if (!stack_) stack_ = std::make_unique<JoinedStack>(options_);
    connect_pair(*center_, *stack_, *Address::parse("127.0.0.1:0"), client_, server_);
  }
  template <typename Done>
  bool until(Done done) {
    return test::turn_until(*center_, std::move(done));
  }
  RegisteredBuffer filled(std::size_t length, unsigned seed) {
    RegisteredBuffer buffer = stack_->front_end_buffers().allocate(length);
    EXPECT_TRUE(buffer);
    const std::string pattern = test_pattern(length, seed);
    std::memcpy(buffer.bytes().data(), pattern.data(), length);
    return buffer;
  }
  static RegisteredSlice whole(const RegisteredBuffer& buffer) {
    return {&buffer, 0, static_cast<uint32_t>(buffer.bytes().size())};
  }
  RemoteKey expose(TestPeer& peer, const RegisteredBuffer& buffer, RemoteAccess access) {
    const auto key = peer.link->expose(whole(buffer), access);
    EXPECT_TRUE(key) << key.error().message();
    // A bind takes its turn before any frame; a frame across tells that it has.
    TestPeer& other = &peer == &client_ ? server_ : client_;
    const std::size_t before = other.frames.size();
    peer.link->send(test_frame(1, "here is a key"), {});
    EXPECT_TRUE(until([&] { return other.frames.size() > before || peer.closed; }));
    EXPECT_FALSE(peer.closed) << peer.closed->message();
    return key.value_or(RemoteKey());
  }
  // Ends with what `done` was given.
  std::error_code read(TestPeer& peer, const RemoteKey& key, const RegisteredBuffer& into) {
    std::optional<std::error_code> result;
    peer.link->remote_read(key, whole(into), [&](std::error_code error) { result = error; });
    EXPECT_FALSE(result) << "done runs later";
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result.value_or(std::make_error_code(std::errc::timed_out));
  }
  std::error_code write(TestPeer& peer, const RegisteredBuffer& from, const RemoteKey& key) {
    std::optional<std::error_code> result;
    peer.link->remote_write(whole(from), key, [&](std::error_code error) { result = error; });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result.value_or(std::make_error_code(std::errc::timed_out));
  }
  // The end whose memory was wanted may hear of nothing: it finds out when it sends.
  void find_out(TestPeer& peer) {
    peer.link->send(test_frame(1, "anyone?"), {});
    ASSERT_TRUE(until([&] { return peer.closed.has_value(); }));
    EXPECT_TRUE(*peer.closed);
  }
  const RdmaLink& rdma(const TestPeer& peer) { return static_cast<const RdmaLink&>(*peer.link); }
  uint64_t counted(const TestPeer& peer, Count which) {
    return rdma(peer).rdma_counters().value(which);
  }

  std::unique_ptr<EventCenter> center_;
  RdmaOptions options_;
  std::unique_ptr<JoinedStack> stack_;
  TestPeer client_, server_;
};

TEST_P(RdmaLinkTest, ReadsAndWritesOfAllSizesMoveTheirBytes) {
  options_.fragment_bytes = 64u << 10;
  connect();
  ASSERT_TRUE(server_.link->capabilities().one_sided);
  for (const std::size_t length : {std::size_t{1}, std::size_t{4096}, std::size_t{64u << 10},
                                   std::size_t{(64u << 10) + 1}, 3 * kMiB + 17}) {
    SCOPED_TRACE(length);
    const RegisteredBuffer exposed = filled(length, 1);
    const RemoteKey readable = expose(client_, exposed, RemoteAccess::kRead);
    RegisteredBuffer local = filled(length, 2);
    ASSERT_FALSE(read(server_, readable, local));
    EXPECT_TRUE(std::ranges::equal(local.bytes(), exposed.bytes()));
    const RegisteredBuffer target = filled(length, 3);
    const RemoteKey writable = expose(client_, target, RemoteAccess::kWrite);
    const RegisteredBuffer source = filled(length, 4);
    ASSERT_FALSE(write(server_, source, writable));
    // Its completion proves nothing to the peer: a frame behind it does.
    const std::size_t before = client_.frames.size();
    server_.link->send(test_frame(9, "written"), {});
    ASSERT_TRUE(until([&] { return client_.frames.size() > before; }));
    EXPECT_TRUE(std::ranges::equal(target.bytes(), source.bytes()));
    std::optional<std::error_code> revoked;
    client_.link->revoke(readable, [&](std::error_code error) { revoked = error; });
    client_.link->revoke(writable, {});
    ASSERT_TRUE(until([&] { return revoked.has_value(); }));
    EXPECT_FALSE(*revoked);
  }
  EXPECT_GE(counted(server_, Count::kReads), 4u + 3 * 16);
  EXPECT_EQ(counted(client_, Count::kBinds), 10u);
}

TEST_P(RdmaLinkTest, AWriteQueuedBeforeAFrameIsThereWhenTheFrameIs) {
  connect();
  const RegisteredBuffer target = filled(kMiB, 1);
  const RemoteKey key = expose(client_, target, RemoteAccess::kWrite);
  const RegisteredBuffer source = filled(kMiB, 2);
  bool was_there = false;
  client_.also_on_frame = [&](ReceivedFrame&) {
    was_there = std::ranges::equal(target.bytes(), source.bytes());
  };
  std::optional<std::error_code> done;
  server_.link->remote_write(whole(source), key, [&](std::error_code error) { done = error; });
  server_.link->send(test_frame(2, "reply"), {});
  ASSERT_TRUE(until([&] { return client_.frames.size() == 1 && done; }));
  EXPECT_TRUE(was_there);
  EXPECT_FALSE(*done);
}

TEST_P(RdmaLinkTest, ManyReadsStayWithinTheReadCredits) {
  options_.max_read_depth = 2;
  options_.fragment_bytes = 16u << 10;
  connect();
  const RegisteredBuffer exposed = filled(kMiB, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  std::vector<RegisteredBuffer> locals;
  int done = 0;
  for (int i = 0; i < 8; ++i) locals.push_back(filled(kMiB, 2));
  for (const RegisteredBuffer& local : locals) {
    server_.link->remote_read(key, whole(local), [&](std::error_code error) {
      EXPECT_FALSE(error) << error.message();
      ++done;
    });
  }
  ASSERT_TRUE(until([&] { return done == 8; }));
  for (const RegisteredBuffer& local : locals) {
    EXPECT_TRUE(std::ranges::equal(local.bytes(), exposed.bytes()));
  }
  EXPECT_EQ(counted(server_, Count::kReads), 8u * 64);
}

TEST_P(RdmaLinkTest, ReadsDoNotWaitBehindFramesThatHaveNoCredit) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  client_.link->pause_reading();
  const std::string data = test_pattern(2 * kMiB, 1);
  SentCounter sent;
  server_.link->send(test_frame(1, "", data), sent.add());
  const RegisteredBuffer local = filled(4096, 2);
  EXPECT_FALSE(read(server_, key, local));
  EXPECT_EQ(sent.total(), 0u);
  EXPECT_GT(server_.link->queued_bytes(), 0u);
  client_.link->resume_reading();
  ASSERT_TRUE(until([&] { return sent.total() == 1; }));
}

TEST_P(RdmaLinkTest, AWrongKeyEndsTheLinkWithTheCompletionsError) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  key.rkey ^= 0x5a00;
  const RegisteredBuffer local = filled(4096, 2);
  EXPECT_EQ(read(server_, key, local), wc_error(IBV_WC_REM_ACCESS_ERR));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
  EXPECT_EQ(*server_.closed, wc_error(IBV_WC_REM_ACCESS_ERR));
  find_out(client_);
}

TEST_P(RdmaLinkTest, ARangeBehindTheRegionEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  key.addr += uint64_t{1} << 40;
  const RegisteredBuffer local = filled(4096, 2);
  EXPECT_TRUE(read(server_, key, local));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
}

TEST_P(RdmaLinkTest, AccessOfTheOtherKindEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  const RegisteredBuffer source = filled(4096, 2);
  EXPECT_TRUE(write(server_, source, key));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
  EXPECT_FALSE(std::ranges::equal(exposed.bytes(), source.bytes()));
}

TEST_P(RdmaLinkTest, ARevokedKeyReachesNothing) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kWrite);
  std::optional<std::error_code> revoked;
  client_.link->revoke(key, [&](std::error_code error) { revoked = error; });
  ASSERT_TRUE(until([&] { return revoked.has_value(); }));
  ASSERT_FALSE(*revoked) << revoked->message();
  const RegisteredBuffer source = filled(4096, 2);
  EXPECT_TRUE(write(server_, source, key));
  EXPECT_FALSE(std::ranges::equal(exposed.bytes(), source.bytes()));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
}

TEST_P(RdmaLinkTest, AKeyThatIsRevokedBeforeItWasBoundIsNeverBound) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const auto key = client_.link->expose(whole(exposed), RemoteAccess::kRead);
  ASSERT_TRUE(key);
  std::optional<std::error_code> revoked, again;
  client_.link->revoke(*key, [&](std::error_code error) { revoked = error; });
  client_.link->revoke(*key, [&](std::error_code error) { again = error; });
  ASSERT_TRUE(until([&] { return revoked && again; }));
  EXPECT_FALSE(*revoked);
  EXPECT_TRUE(*again);
  EXPECT_EQ(counted(client_, Count::kBinds), 0u);
}

TEST_P(RdmaLinkTest, WindowsAreUsedAgain) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RegisteredBuffer local = filled(4096, 2);
  for (int i = 0; i < 300; ++i) {
    const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
    ASSERT_FALSE(read(server_, key, local)) << i;
    std::optional<std::error_code> revoked;
    client_.link->revoke(key, [&](std::error_code error) { revoked = error; });
    ASSERT_TRUE(until([&] { return revoked.has_value(); }));
    ASSERT_FALSE(*revoked) << i;
    server_.frames.clear();
  }
}

TEST_P(RdmaLinkTest, ForeignMemoryIsNotExposedAndNotMoved) {
  connect();
  const auto heap = make_heap_buffer_pool(kMiB, kMiB);
  const RegisteredBuffer foreign = heap->allocate(4096);
  EXPECT_FALSE(client_.link->expose(whole(foreign), RemoteAccess::kRead));
  RemoteKey key;
  key.rkey = 1;
  key.length = 4096;
  EXPECT_EQ(read(client_, key, foreign), std::errc::invalid_argument);
  EXPECT_FALSE(client_.closed);
}

TEST_P(RdmaLinkTest, InArenaScopeOnlyTheEndOfTheLinkTakesAKeyBack) {
  options_.rkey_scope = RkeyScope::kArena;
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  const RegisteredBuffer local = filled(4096, 2);
  EXPECT_FALSE(read(server_, key, local));
  std::optional<std::error_code> revoked;
  client_.link->revoke(key, [&](std::error_code error) { revoked = error; });
  ASSERT_TRUE(until([&] { return revoked.has_value(); }));
  EXPECT_EQ(*revoked, std::errc::operation_not_supported);
}

// Once closed() ran nothing the peer still does reaches the memory.
TEST_P(RdmaLinkTest, AfterTheEndTheMemoryIsOutOfReach) {
  options_.rkey_scope = RkeyScope::kArena;
  connect();
  const RegisteredBuffer exposed = filled(8 * kMiB, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kWrite);
  const RegisteredBuffer source = filled(8 * kMiB, 2);
  std::optional<std::error_code> written;
  server_.link->remote_write(whole(source), key, [&](std::error_code error) { written = error; });
  bool closed = false;
  client_.link->close([&] {
    closed = true;
    std::ranges::fill(exposed.bytes(), std::byte{7});
  });
  ASSERT_TRUE(until([&] { return closed && written && server_.closed; }));
  EXPECT_TRUE(std::ranges::all_of(exposed.bytes(), [](std::byte b) { return b == std::byte{7}; }));
}

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
    // Nobody may have told the peer: it finds out by sending.
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
  stack_->table().device_gone(*stack_->device());
  ASSERT_TRUE(until([&] { return client_.closed && server_.closed; }));
  EXPECT_EQ(*client_.closed, std::errc::no_such_device);
}

// --- what is left behind -----------------------------------------------------------------------

int open_fds() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

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
  const int fds = open_fds();
  const std::string before = resources();
  const std::size_t pinned = bytes_pinned();
  EXPECT_NE(before.find("qp"), std::string::npos) << before;
  for (int i = 0; i < 200; ++i) cycle();
  EXPECT_EQ(open_fds(), fds);
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
