// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One-sided operations over shared memory and their errors, keys and their end.

#include "msgr/local/local_link.h"

#include <set>
#include <vector>

#include "tests/msgr/local/local_fixture.h"

namespace lunar::msgr::local {
namespace {

TEST_F(LocalLinkTest, ReadsAndWritesOfAllSizesMoveTheirBytes) {
  connect();
  ASSERT_TRUE(server_.link->capabilities().one_sided);
  for (const std::size_t length :
       {std::size_t{1}, std::size_t{4096}, (64 * kKiB) + 1, 3 * kMiB + 17, 16 * kMiB}) {
    SCOPED_TRACE(length);
    const RegisteredBuffer exposed = filled(length, 1);
    const RemoteKey readable = expose(client_, server_, exposed, RemoteAccess::kRead);
    const RegisteredBuffer local = stack_.buffers().allocate(length);
    ASSERT_FALSE(read(server_, readable, local));
    EXPECT_TRUE(has_only(local, 1));
    const RemoteKey writable = expose(client_, server_, exposed, RemoteAccess::kWrite);
    std::memset(local.bytes().data(), 2, length);
    ASSERT_FALSE(write(server_, local, writable));
    EXPECT_TRUE(has_only(exposed, 2));
    EXPECT_FALSE(revoke(client_, readable));
    client_.link->revoke(writable, {});
  }
  EXPECT_EQ(counted("keys_waited"), 0u);
}

TEST_F(LocalLinkTest, APartOfAKeyIsReachedByItsOffset) {
  connect();
  const RegisteredBuffer exposed = filled(kMiB, 1);
  RemoteKey key = expose(client_, server_, exposed, RemoteAccess::kWrite);
  key.addr += 5000;
  key.length = 100;
  const RegisteredBuffer source = filled(100, 2);
  ASSERT_FALSE(write(server_, source, key));
  EXPECT_EQ(exposed.bytes()[4999], std::byte{1});
  EXPECT_EQ(exposed.bytes()[5000], std::byte{2});
  EXPECT_EQ(exposed.bytes()[5099], std::byte{2});
  EXPECT_EQ(exposed.bytes()[5100], std::byte{1});
}

TEST_F(LocalLinkTest, AWriteQueuedBeforeAFrameIsThereWhenTheFrameIs) {
  connect();
  const RegisteredBuffer target = filled(kMiB, 1);
  const RemoteKey key = expose(client_, server_, target, RemoteAccess::kWrite);
  const RegisteredBuffer source = filled(kMiB, 2);
  bool was_there = false;
  client_.also_on_frame = [&](ReceivedFrame&) { was_there = has_only(target, 2); };
  server_.link->remote_write(whole(source), key, {});
  server_.link->send(test_frame(2, "reply"), {});
  ASSERT_TRUE(until([&] { return client_.frames.size() == 1; }));
  EXPECT_TRUE(was_there);
}

// As a server that was just connected gets them: all at once.
TEST_F(LocalLinkTest, KeysToManyChunksInOneTurnAllReachTheirMemory) {
  constexpr uint32_t kChunks = 64;
  FolderStack wide({}, std::size_t{kChunks} * 16 * kMiB);
  std::vector<RegisteredBuffer> buffers;
  for (uint32_t i = 0; i < kChunks; ++i) {
    buffers.push_back(wide.front_end_buffers().allocate(16 * kMiB));
    buffers.back().bytes()[0] = std::byte(i + 1);
  }
  for (int number = 0; number < 2; ++number) {
    TestPeer client, server;
    connect_pair(*center_, wide, Address::loopback(), client, server);
    std::vector<RemoteKey> keys;
    for (const RegisteredBuffer& buffer : buffers) {
      const auto key = client.link->expose({&buffer, 0, 4096}, RemoteAccess::kRead);
      ASSERT_TRUE(key);
      keys.push_back(*key);
      client.link->send(test_frame(keys.size(), "key"), {});
    }
    const RegisteredBuffer local = wide.buffers().allocate(4096);
    std::vector<std::byte> moved;  // each as soon as its frame is there
    server.also_on_frame = [&](ReceivedFrame& frame) {
      server.link->remote_read(keys[frame.header.tid.value() - 1], whole(local), {});
      moved.push_back(local.bytes()[0]);
    };
    ASSERT_TRUE(until([&] { return moved.size() == kChunks || server.closed; }));
    EXPECT_FALSE(server.closed) << server.closed->message();
    for (uint32_t i = 0; i < moved.size(); ++i) EXPECT_EQ(moved[i], std::byte(i + 1));
    server.frames.clear();
    close_all(*center_, {&client, &server});
  }
}

TEST_F(LocalLinkTest, AKeyThatIsNotTheOneGivenEndsTheLink) {
  const RegisteredBuffer exposed = filled(8192, 1);
  const RegisteredBuffer local = stack_.buffers().allocate(8192);
  const auto refused = [&](const char* what, RemoteAccess access, auto change) {
    SCOPED_TRACE(what);
    connect();
    RemoteKey key = expose(client_, server_, exposed, access);
    change(key);
    EXPECT_EQ(read(server_, key, local), std::errc::permission_denied);
    ASSERT_TRUE(until([&] { return server_.closed && client_.closed; }));
    EXPECT_EQ(*server_.closed, std::errc::permission_denied);
    server_.frames.clear();
    close_all(*center_, {&client_, &server_});
    client_.closed.reset();
    server_.closed.reset();
  };
  const auto kRead = RemoteAccess::kRead;
  refused("generation", kRead, [](RemoteKey& key) { key.rkey += 1; });
  refused("no generation", kRead, [](RemoteKey& key) { key.rkey = 0; });
  refused("slot", kRead, [](RemoteKey& key) { key.addr ^= uint64_t{1} << 48; });
  refused("no slot", kRead, [](RemoteKey& key) { key.addr |= uint64_t{0xffff} << 48; });
  refused("region", kRead, [](RemoteKey& key) { key.addr += uint64_t{1} << 32; });
  refused("before", kRead, [](RemoteKey& key) { key.addr -= 1; });
  refused("behind", kRead, [](RemoteKey& key) { key.addr += 1; });
  refused("far behind", kRead, [](RemoteKey& key) { key.addr |= UINT32_MAX; });
  refused("length", kRead, [](RemoteKey& key) { key.length = 8191; });
  refused("access", RemoteAccess::kWrite, [](RemoteKey&) {});
}

TEST_F(LocalLinkTest, MoreThanTheKeyReachesEndsTheLink) {
  connect();
  const RegisteredBuffer exposed = filled(8192, 1);
  RemoteKey key = expose(client_, server_, exposed, RemoteAccess::kRead);
  key.length = 8193;
  const RegisteredBuffer local = stack_.buffers().allocate(8193);
  EXPECT_EQ(read(server_, key, local), std::errc::permission_denied);
}

TEST_F(LocalLinkTest, AKeyOfAnotherLinkIsRefused) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, server_, exposed, RemoteAccess::kRead);
  TestPeer other_client, other_server;
  connect_pair(*center_, stack_, Address::loopback(), other_client, other_server);
  const RegisteredBuffer local = stack_.buffers().allocate(4096);
  EXPECT_EQ(read(other_server, key, local), std::errc::permission_denied);
  close_all(*center_, {&other_client, &other_server});
}

TEST_F(LocalLinkTest, ARevokedKeyReachesNothing) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, server_, exposed, RemoteAccess::kWrite);
  ASSERT_FALSE(revoke(client_, key));
  const RegisteredBuffer source = filled(4096, 2);
  EXPECT_EQ(write(server_, source, key), std::errc::permission_denied);
  EXPECT_TRUE(has_only(exposed, 1));
  EXPECT_TRUE(until([&] { return server_.closed.has_value(); }));
}

TEST_F(LocalLinkTest, AKeyIsRevokedOnceAndTheNextOneIsAnother) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  std::set<std::pair<uint64_t, uint32_t>> keys;
  const RegisteredBuffer local = stack_.buffers().allocate(4096);
  for (uint32_t i = 0; i < 3 * kMaxKeys; ++i) {
    const auto key = client_.link->expose(whole(exposed), RemoteAccess::kRead);
    ASSERT_TRUE(key) << i;
    EXPECT_TRUE(keys.insert({key->addr, key->rkey}).second) << i;
    client_.link->revoke(*key, {});
  }
  const RemoteKey last = expose(client_, server_, exposed, RemoteAccess::kRead);
  EXPECT_FALSE(read(server_, last, local));
  EXPECT_FALSE(revoke(client_, last));
  EXPECT_EQ(revoke(client_, last), std::errc::operation_not_supported);
}

TEST_F(LocalLinkTest, WithoutAFreeSlotTheDataIsToBeSent) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  std::vector<RemoteKey> keys;
  for (uint32_t i = 0; i < kMaxKeys; ++i) {
    keys.push_back(*client_.link->expose(whole(exposed), RemoteAccess::kRead));
  }
  const auto refused = client_.link->expose(whole(exposed), RemoteAccess::kRead);
  EXPECT_EQ(refused.error(), std::errc::no_buffer_space);
  client_.link->revoke(keys[7], {});
  EXPECT_TRUE(client_.link->expose(whole(exposed), RemoteAccess::kRead));
}

TEST_F(LocalLinkTest, ForeignMemoryIsNotExposed) {
  connect();
  const RegisteredBuffer foreign = stack_.buffers().allocate(4096);
  const RegisteredBuffer plain = stack_.front_end_buffers().allocate(17 * kMiB);
  EXPECT_FALSE(plain.is_registered());
  for (const RegisteredBuffer* buffer : {&foreign, &plain}) {
    EXPECT_EQ(client_.link->expose(whole(*buffer), RemoteAccess::kRead).error(),
              std::errc::operation_not_supported);
  }
  EXPECT_FALSE(client_.closed);
}

// A page cannot be taken back from the peer without the bytes beside it.
TEST_F(LocalLinkTest, OnlyWholePagesAreExposedToBeWritten) {
  connect();
  const RegisteredBuffer buffer = filled(10'000, 1);
  const auto expose_part = [&](uint32_t offset, uint32_t length, RemoteAccess access) {
    return client_.link->expose({&buffer, offset, length}, access).has_value();
  };
  EXPECT_TRUE(expose_part(0, 4096, RemoteAccess::kWrite));
  EXPECT_TRUE(expose_part(4096, 10'000 - 4096, RemoteAccess::kWrite));
  EXPECT_FALSE(expose_part(0, 512, RemoteAccess::kWrite));
  EXPECT_FALSE(expose_part(512, 10'000 - 512, RemoteAccess::kWrite));
  EXPECT_TRUE(expose_part(512, 512, RemoteAccess::kRead));
}

TEST_F(LocalLinkTest, ARegionIsHandedOverOnce) {
  connect();
  std::vector<RegisteredBuffer> buffers;
  for (int i = 0; i < 48; ++i) buffers.push_back(filled(kMiB, i));  // of three chunks
  const RegisteredBuffer local = stack_.buffers().allocate(kMiB);
  for (int i = 0; i < 48; ++i) {
    const RemoteKey key =
        expose(client_, server_, buffers[static_cast<std::size_t>(i)], RemoteAccess::kRead);
    ASSERT_FALSE(read(server_, key, local)) << i;
    EXPECT_TRUE(has_only(local, i));
  }
  EXPECT_EQ(counted("regions_out"), 3u);
}

TEST_F(LocalLinkTest, BothEndsMayExpose) {
  connect();
  const RegisteredBuffer ours = filled(4096, 1);
  const RegisteredBuffer theirs = filled(4096, 2);
  const RemoteKey our_key = expose(client_, server_, ours, RemoteAccess::kRead);
  const RemoteKey their_key = expose(server_, client_, theirs, RemoteAccess::kRead);
  const RegisteredBuffer local = stack_.buffers().allocate(4096);
  EXPECT_FALSE(read(server_, our_key, local));
  EXPECT_TRUE(has_only(local, 1));
  EXPECT_FALSE(read(client_, their_key, local));
  EXPECT_TRUE(has_only(local, 2));
}

TEST_F(LocalLinkTest, AfterTheEndTheMemoryIsOutOfReach) {
  connect();
  const RegisteredBuffer exposed = filled(kMiB, 1);
  const RemoteKey key = expose(client_, server_, exposed, RemoteAccess::kWrite);
  bool is_closed = false;
  client_.link->close([&] { is_closed = true; });
  EXPECT_FALSE(is_closed);
  // The server has not heard of it yet.
  const RegisteredBuffer source = filled(kMiB, 2);
  EXPECT_TRUE(write(server_, source, key));
  ASSERT_TRUE(until([&] { return is_closed; }));
  EXPECT_TRUE(has_only(exposed, 1));
}

TEST_F(LocalLinkTest, OnAFailedLinkEveryCallEndsWithItsReason) {
  connect();
  const RegisteredBuffer exposed = filled(4096, 1);
  const RemoteKey key = expose(client_, server_, exposed, RemoteAccess::kRead);
  server_.frames.clear();
  close_all(*center_, {&server_});
  ASSERT_TRUE(until([&] { return client_.closed.has_value(); }));
  EXPECT_EQ(revoke(client_, key), *client_.closed);
  EXPECT_EQ(client_.link->expose(whole(exposed), RemoteAccess::kRead).error(), *client_.closed);
  EXPECT_EQ(read(client_, key, exposed), *client_.closed);
}

}  // namespace
}  // namespace lunar::msgr::local
