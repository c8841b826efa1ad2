// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A peer that is in the middle of a move when its key is taken back: it ends, it dies, or it was
// stopped there and goes on when the buffer has another use.

#include <sys/wait.h>

#include <csignal>

#include "tests/msgr/local/local_fixture.h"
#include "tests/msgr/local/raw_unix_peer.h"

namespace lunar::msgr::local {
namespace {

using std::chrono::milliseconds;

class LateWriteTest : public LocalLinkTest {
 protected:
  // Our client, and a server that is made by hand.
  void connect_to_raw() {
    const Address address = Address::loopback(6800);
    const auto listening =
        RawUnixPeer::listen_at(LocalStack::socket_path(stack_.run_dir(), address));
    std::unique_ptr<Link> link;
    const auto pending =
        stack_.connect(*center_, address, [&](Result<std::unique_ptr<Link>> connected) {
          ASSERT_TRUE(connected);
          link = std::move(*connected);
        });
    ASSERT_TRUE(until([&] { return link != nullptr; }));
    client_.attach(std::move(link));
    raw_.emplace(RawUnixPeer::accept_from(listening));
  }
  // The peer has it, and has begun a move by it.
  RemoteKey expose_and_begin(const RegisteredBuffer& buffer, RemoteAccess access) {
    const auto key = client_.link->expose(whole(buffer), access);
    EXPECT_TRUE(key);
    client_.link->send(test_frame(1, "key"), {});
    center_->run_until_idle();
    raw_->receive();
    EXPECT_TRUE(raw_->table().begin_move(name_of(*key)));
    return *key;
  }
  void pass(milliseconds time) {
    for (milliseconds passed{0}; passed < time; passed += milliseconds(1)) {
      clock_.advance(milliseconds(1));
      center_->run_until_idle();
    }
  }
  void begin_revoke(const RemoteKey& key) {
    client_.link->revoke(key, [this](std::error_code error) { revoked_ = error; });
    center_->run_until_idle();
  }
  void write_late(const RemoteKey& key) { std::memset(raw_->place_of(key), 0x66, 4096); }

  std::optional<RawUnixPeer> raw_;
  std::optional<std::error_code> revoked_;
};

TEST_F(LateWriteTest, APeerThatEndsItsMoveIsWaitedFor) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  begin_revoke(key);
  pass(milliseconds(5));
  EXPECT_FALSE(revoked_) << "the peer still writes";
  write_late(key);
  EXPECT_TRUE(raw_->table().end_move(name_of(key)));
  pass(milliseconds(2));
  ASSERT_TRUE(revoked_);
  EXPECT_FALSE(*revoked_);
  EXPECT_FALSE(raw_->table().begin_move(name_of(key)));
  EXPECT_EQ(buffer.bytes()[0], std::byte{0x66});
  EXPECT_EQ(counted("keys_waited"), 1u);
  EXPECT_EQ(counted("keys_forced"), 0u);
}

TEST_F(LateWriteTest, AStoppedPeerWritesToPagesThatNobodyReads) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RegisteredBuffer beside = filled(kMiB, 2);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  begin_revoke(key);
  pass(milliseconds(25));
  ASSERT_TRUE(revoked_);
  EXPECT_FALSE(*revoked_);
  EXPECT_EQ(counted("keys_forced"), 1u);
  // The buffer's next use.
  std::memset(buffer.bytes().data(), 3, kMiB);
  write_late(key);
  EXPECT_TRUE(has_only(buffer, 3));
  EXPECT_TRUE(has_only(beside, 2));
  EXPECT_FALSE(raw_->table().end_move(name_of(key))) << "and it learns that its key is gone";
  EXPECT_EQ(client_.link->expose(whole(buffer), RemoteAccess::kWrite).error(),
            std::errc::operation_not_supported)
      << "these pages can be handed to nobody";
  EXPECT_TRUE(client_.link->expose(whole(beside), RemoteAccess::kWrite));
  EXPECT_FALSE(client_.closed);
}

TEST_F(LateWriteTest, ALinkIsClosedWhenAStoppedPeerCanHarmNothing) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  bool is_closed = false;
  client_.link->close([&] { is_closed = true; });
  pass(milliseconds(10));
  EXPECT_FALSE(is_closed) << "the peer still writes";
  pass(milliseconds(15));
  EXPECT_TRUE(is_closed);
  std::memset(buffer.bytes().data(), 3, kMiB);
  write_late(key);
  EXPECT_TRUE(has_only(buffer, 3));
}

TEST_F(LateWriteTest, AClosingLinkWaitsForAPeerThatEndsItsMove) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  bool is_closed = false;
  begin_revoke(key);
  client_.link->close([&] { is_closed = true; });
  center_->run_until_idle();
  EXPECT_TRUE(revoked_ && *revoked_) << "it ends with the link";
  EXPECT_FALSE(is_closed);
  EXPECT_TRUE(raw_->table().end_move(name_of(key)));
  pass(milliseconds(2));
  EXPECT_TRUE(is_closed);
  EXPECT_EQ(counted("keys_forced"), 0u);
}

TEST_F(LateWriteTest, ALinkThatIsDestroyedTakesTheMemoryAlong) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  client_.link.reset();
  std::memset(buffer.bytes().data(), 3, kMiB);
  write_late(key);
  EXPECT_TRUE(has_only(buffer, 3));
  EXPECT_EQ(counted("keys_forced"), 1u);
}

TEST_F(LateWriteTest, APeerThatHasLeftIsNotWaitedFor) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  (void)expose_and_begin(buffer, RemoteAccess::kWrite);
  raw_->close();  // as the kernel closes it for a process that was killed
  ASSERT_TRUE(until([&] { return client_.closed.has_value(); }));
  bool is_closed = false;
  client_.link->close([&] { is_closed = true; });
  center_->run_until_idle();
  EXPECT_TRUE(is_closed);
  EXPECT_EQ(counted("keys_forced"), 0u);
}

TEST_F(LateWriteTest, WhatAPeerReadsIsNotWaitedForAndItFindsOut) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kRead);
  begin_revoke(key);
  ASSERT_TRUE(revoked_);
  EXPECT_FALSE(*revoked_);
  EXPECT_FALSE(raw_->table().end_move(name_of(key)));
  EXPECT_EQ(counted("keys_waited"), 0u);
}

TEST_F(LateWriteTest, AChunkThatLostPagesIsWholeAgainWhenItWasFree) {
  connect_to_raw();
  RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  begin_revoke(key);
  pass(milliseconds(25));
  ASSERT_TRUE(revoked_);
  buffer = {};
  buffer = filled(kMiB, 4);
  write_late(key);
  EXPECT_TRUE(has_only(buffer, 4)) << "it has another memfd now";
  EXPECT_TRUE(client_.link->expose(whole(buffer), RemoteAccess::kWrite));
}

// A process of its own, which stops itself after half of a write.
class StoppedProcessTest : public LateWriteTest {
 protected:
  void expose_and_stop_the_writer(const RegisteredBuffer& buffer) {
    connect_to_raw();
    const auto key = client_.link->expose(whole(buffer), RemoteAccess::kWrite);
    ASSERT_TRUE(key);
    key_ = *key;
    client_.link->send(test_frame(1, "key"), {});
    center_->run_until_idle();
    writer_ = fork();
    ASSERT_GE(writer_, 0);
    if (writer_ == 0) write_and_exit();
    raw_->close();  // the writer has it
    int status = 0;
    ASSERT_EQ(waitpid(writer_, &status, WUNTRACED), writer_);
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  // Exits with 3 if the key is gone at the end.
  [[noreturn]] void write_and_exit() {
    raw_->receive();
    KeyTable table = raw_->table();
    if (!table.begin_move(name_of(key_))) _exit(1);
    std::byte* const place = raw_->place_of(key_);
    std::memset(place, 0x66, kMiB / 2);
    raise(SIGSTOP);
    std::memset(place + kMiB / 2, 0x66, kMiB / 2);
    _exit(table.end_move(name_of(key_)) ? 2 : 3);
  }
  int signal_and_wait(int signal) {
    kill(writer_, signal);
    int status = 0;
    EXPECT_EQ(waitpid(writer_, &status, 0), writer_);
    return status;
  }

  RemoteKey key_;
  pid_t writer_ = -1;
};

TEST_F(StoppedProcessTest, GoesOnWithoutHarm) {
  const RegisteredBuffer buffer = filled(kMiB, 1);
  expose_and_stop_the_writer(buffer);
  EXPECT_EQ(buffer.bytes()[kMiB / 2 - 1], std::byte{0x66}) << "it writes to our memory";
  begin_revoke(key_);
  pass(milliseconds(10));
  EXPECT_FALSE(revoked_);
  pass(milliseconds(15));
  ASSERT_TRUE(revoked_);
  std::memset(buffer.bytes().data(), 3, kMiB);  // another IO
  const int status = signal_and_wait(SIGCONT);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 3) << status;
  EXPECT_TRUE(has_only(buffer, 3));
}

TEST_F(StoppedProcessTest, IsOverWhenItIsKilled) {
  const RegisteredBuffer buffer = filled(kMiB, 1);
  expose_and_stop_the_writer(buffer);
  EXPECT_TRUE(WIFSIGNALED(signal_and_wait(SIGKILL)));
  ASSERT_TRUE(until([&] { return client_.closed.has_value(); }));
  bool is_closed = false;
  client_.link->close([&] { is_closed = true; });
  center_->run_until_idle();
  EXPECT_TRUE(is_closed) << "at once";
  EXPECT_EQ(counted("keys_forced"), 0u);
  EXPECT_TRUE(stack_.front_end_buffers().is_registered(buffer.cookie()));
}

// Whatever a peer writes into the table, its owner does not believe it for longer than kGrace.
TEST_F(LateWriteTest, ATableFullOfNonsenseHoldsNobodyUp) {
  connect_to_raw();
  const RegisteredBuffer buffer = filled(kMiB, 1);
  const RemoteKey key = expose_and_begin(buffer, RemoteAccess::kWrite);
  std::memset(raw_->memory(0).data(), 0xff, kKeyTableBytes);
  begin_revoke(key);
  pass(milliseconds(25));
  ASSERT_TRUE(revoked_);
  EXPECT_FALSE(*revoked_);
  const auto next = client_.link->expose(whole(buffer), RemoteAccess::kRead);
  ASSERT_TRUE(next);
  EXPECT_TRUE(raw_->table().begin_move(name_of(*next)));
}

}  // namespace
}  // namespace lunar::msgr::local
