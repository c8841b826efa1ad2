// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One-sided operations and their errors, keys and their end.

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "tests/msgr/rdma/link/rdma_link_fixture.h"

namespace lunar::msgr::rdma {
namespace {

class RdmaRemoteTest : public RdmaLinkTest {};

TEST_P(RdmaRemoteTest, ReadsAndWritesOfAllSizesMoveTheirBytes) {
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
    // The completion tells the peer nothing; a frame that follows does.
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

TEST_P(RdmaRemoteTest, AWriteQueuedBeforeAFrameIsThereWhenTheFrameIs) {
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

TEST_P(RdmaRemoteTest, ManyReadsStayWithinTheReadCredits) {
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

TEST_P(RdmaRemoteTest, ReadsDoNotWaitBehindFramesThatHaveNoCredit) {
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

TEST_P(RdmaRemoteTest, AWrongKeyEndsTheLinkWithTheCompletionsError) {
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

// No WR is posted, but `done` still runs, because the caller relies on it.
TEST_P(RdmaRemoteTest, MemoryThatTheDeviceDoesNotKnowEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kWrite);
  const auto plain = make_heap_buffer_pool(kMiB, 0);
  const RegisteredBuffer source = plain->allocate(4096);
  const auto invalid = std::make_error_code(std::errc::invalid_argument);
  EXPECT_EQ(write(server_, source, key), invalid);
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
  EXPECT_EQ(*server_.closed, invalid);
  find_out(client_);
}

TEST_P(RdmaRemoteTest, MoreThanTheKeyReachesEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  const RegisteredBuffer local = filled(4097, 2);
  EXPECT_EQ(read(server_, key, local), std::make_error_code(std::errc::invalid_argument));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
  find_out(client_);
}

TEST_P(RdmaRemoteTest, ARangeBehindTheRegionEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  key.addr += uint64_t{1} << 40;
  const RegisteredBuffer local = filled(4096, 2);
  EXPECT_TRUE(read(server_, key, local));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
}

TEST_P(RdmaRemoteTest, AccessOfTheOtherKindEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
  const RegisteredBuffer source = filled(4096, 2);
  EXPECT_TRUE(write(server_, source, key));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
  EXPECT_FALSE(std::ranges::equal(exposed.bytes(), source.bytes()));
}

TEST_P(RdmaRemoteTest, ARevokedKeyReachesNothing) {
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

TEST_P(RdmaRemoteTest, AKeyThatIsRevokedBeforeItWasBoundIsNeverBound) {
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
  // A frame with that key might still be queued, so the next key must not be the same.
  const RemoteKey next = expose(client_, exposed, RemoteAccess::kRead);
  EXPECT_NE(next.rkey, key->rkey);
  const RegisteredBuffer local = filled(4096, 2);
  EXPECT_FALSE(read(server_, next, local));
}

TEST_P(RdmaRemoteTest, WindowsAreUsedAgain) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RegisteredBuffer local = filled(4096, 2);
  for (int i = 0; i < 300; ++i) {
    const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
    ASSERT_FALSE(read(server_, key, local)) << i;
    client_.link->revoke(key, {});
    server_.frames.clear();
  }
}

// Keys of a window differ in eight bits, and the peer has not said that it uses it no more.
TEST_P(RdmaRemoteTest, AWindowThatWasTakenBackByForceIsNotUsedAgainOnItsLink) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  std::set<uint32_t> windows;
  for (int i = 0; i < 8; ++i) {
    const RemoteKey key = expose(client_, exposed, RemoteAccess::kRead);
    EXPECT_TRUE(windows.insert(key.rkey >> 8).second) << i;
    std::optional<std::error_code> revoked;
    client_.link->revoke(key, [&](std::error_code error) { revoked = error; });
    ASSERT_TRUE(until([&] { return revoked.has_value(); }));
    ASSERT_FALSE(*revoked) << i;
  }
}

TEST_P(RdmaRemoteTest, ForeignMemoryIsNotExposed) {
  connect();
  const auto heap = make_heap_buffer_pool(kMiB, kMiB);
  const RegisteredBuffer foreign = heap->allocate(4096);
  EXPECT_FALSE(client_.link->expose(whole(foreign), RemoteAccess::kRead));
  EXPECT_FALSE(client_.closed);
}

TEST_P(RdmaRemoteTest, InArenaScopeOnlyTheEndOfTheLinkTakesAKeyBack) {
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

// After `closed` has run, the peer cannot reach the memory.
TEST_P(RdmaRemoteTest, AfterTheEndTheMemoryIsOutOfReach) {
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

INSTANTIATE_TEST_SUITE_P(All, RdmaRemoteTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Srq" : "NoSrq"; });

}  // namespace
}  // namespace lunar::msgr::rdma
