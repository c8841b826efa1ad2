// SPDX-License-Identifier: LGPL-2.1-or-later
// Payloads that are described to the server. The server moves them when the test says so; after
// done a test scribbles over the op's buffer: whoever can still reach it would show.
#include <cstring>

#include "common/crc32c.h"
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

constexpr std::byte kPoison{0xee};
constexpr uint32_t kBytes = 200'000;

msgr::LoopbackOptions one_sided_stack(std::size_t windows = SIZE_MAX) {
  msgr::LoopbackOptions options;
  options.one_sided = true;
  options.windows = windows;
  return options;
}

class OneSidedTest : public ObjecterFixture {
 protected:
  explicit OneSidedTest(msgr::LoopbackOptions stack_options = one_sided_stack())
      : ObjecterFixture(stack_options) {
    options.op_timeout = 5s;
    options.cancel_grace = 1s;
    options.rkey_revoke_timeout = 2s;
    buffer = stack->buffers().allocate(kBytes);
    staging = stack->buffers().allocate(kBytes);
    fill(buffer, 1);
    fill(staging, 100);
  }
  void SetUp() override { start(2); }
  void TearDown() override {
    ObjecterFixture::TearDown();
    EXPECT_EQ(stack->keys_out(), 0u) << "a key outlived its op";
  }

  static void fill(const msgr::RegisteredBuffer& into, uint8_t first) {
    const auto bytes = pattern(into.bytes().size(), first);
    std::memcpy(into.bytes().data(), bytes.data(), bytes.size());
  }
  static std::vector<std::byte> copy(const msgr::RegisteredBuffer& of) {
    return {of.bytes().begin(), of.bytes().end()};
  }
  void poison() { std::fill(buffer.bytes().begin(), buffer.bytes().end(), kPoison); }
  void expect_poisoned() {
    EXPECT_EQ(copy(buffer), std::vector<std::byte>(kBytes, kPoison)) << "written after done";
  }

  ObjectOp wished(ObjectOp op) {
    op.one_sided.wished = true;
    op.one_sided.slice = {&buffer, 0, kBytes};
    op.one_sided.fragment_bytes = 65536;
    return op;
  }
  ObjectOp write(const std::string& name) {
    std::vector<std::byte> none;
    ObjectOp op = write_op(name, none);
    op.steps = {make_step(OpCode::kWrite, 0, kBytes, kBytes)};
    op.data = {buffer.bytes()};
    return wished(std::move(op));
  }
  ObjectOp read(const std::string& name) {
    std::vector<std::byte> none;
    ObjectOp op = read_op(name, none);
    op.steps = {make_step(OpCode::kRead, 0, kBytes)};
    op.read_into = buffer.bytes();
    return wished(std::move(op));
  }

  // What a server does with a descriptor; the result of the last piece comes into `moved`.
  void move(const test::FakeOsd::Received& op, bool push) {
    moved.clear();
    for (const auto& piece : cut_delivery(*op.op.delivery, 0, kBytes, 1u << 20)) {
      const msgr::RegisteredSlice local{&staging, static_cast<uint32_t>(piece.offset),
                                        piece.length};
      auto done = [this](std::error_code error) { moved.push_back(error); };
      if (push) {
        op.from->remote_write(local, piece.key, done);
      } else {
        op.from->remote_read(piece.key, local, done);
      }
    }
  }
  OsdReplyHeader pushed(const test::FakeOsd::Received& op) {
    OsdReplyHeader header = osd(1).ok(op);
    header.steps[0].data_length = kBytes;
    header.is_pushed = true;
    header.push_crc = crc32c(0, staging.bytes());
    return header;
  }
  // Submits to server 1 and gives what arrives there.
  test::FakeOsd::Received send(ObjectOp op, Ended& ended) {
    tid = submit(std::move(op), ended);
    settle();
    EXPECT_EQ(osd(1).ops.size(), 1u);
    auto received = osd(1).ops.front();
    return received;
  }
  std::string object() const { return object_on(1); }

  msgr::RegisteredBuffer buffer;   // the client's
  msgr::RegisteredBuffer staging;  // the server's
  std::vector<std::error_code> moved;
  Tid tid = 0;
};

TEST_F(OneSidedTest, AWriteIsDescribedAndMayBePulled) {
  Ended ended;
  const auto op = send(write(object()), ended);
  ASSERT_TRUE(op.op.delivery);
  EXPECT_TRUE(op.data.empty());
  EXPECT_EQ(op.op.delivery->access, DeliveryAccess::kPull);
  EXPECT_EQ(op.op.delivery->link_generation, op.link_generation);
  EXPECT_EQ(op.op.delivery->lease_ms, 5000u);
  ASSERT_EQ(op.op.delivery->crcs.size(), 4u);
  EXPECT_EQ(op.op.delivery->crcs[3], crc32c(0, ConstBytes(buffer.bytes()).subspan(3 * 65536)));
  EXPECT_EQ(counter("keys_out"), 1u);
  move(op, false);
  settle();
  ASSERT_EQ(moved, std::vector<std::error_code>(1));
  EXPECT_EQ(copy(staging), copy(buffer));
  osd(1).reply_next();
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(ended.reply.path, kTracePathOneSided);
  EXPECT_EQ(ended.reply.path_reason, kTracePathEligible);
  EXPECT_EQ(counter("keys_out"), 0u);
  EXPECT_EQ(counter("keys_revoked"), 0u) << "the answer on its own link frees a key at once";
  EXPECT_EQ(counter("one_sided"), 1u);
  EXPECT_EQ(stack->keys_out(), 0u);
}

TEST_F(OneSidedTest, AReadIsPushedStraightIntoItsBuffer) {
  Ended ended;
  const auto op = send(read(object()), ended);
  ASSERT_TRUE(op.op.delivery);
  EXPECT_EQ(op.op.delivery->access, DeliveryAccess::kPush);
  move(op, true);
  osd(1).reply(op, pushed(op));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(copy(buffer), copy(staging));
  EXPECT_EQ(counter("payload_copied"), 0u);
  EXPECT_EQ(counter("op_reply_bytes"), 0u) << "nothing travelled in a frame";
}

TEST_F(OneSidedTest, TheServerMayAnswerADescribedReadInline) {
  Ended ended;
  const auto op = send(read(object()), ended);
  osd(1).reply_next(Errc::kOk, copy(staging));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(copy(buffer), copy(staging));
}

TEST_F(OneSidedTest, WhatWasDamagedOnItsWayIsAskedForInline) {
  faults.damage_push = [](Bytes moved) { moved[77] ^= std::byte{1}; };
  Ended ended;
  const auto op = send(read(object()), ended);
  move(op, true);
  osd(1).reply(op, pushed(op));
  osd(1).ops.clear();
  settle();
  EXPECT_FALSE(ended.is_done);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_FALSE(osd(1).ops.front().op.delivery);
  EXPECT_EQ(osd(1).ops.front().op.attempt, 2u);
  osd(1).reply_next(Errc::kOk, copy(staging));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(ended.reply.path_reason, kTracePathDamaged);
  EXPECT_EQ(copy(buffer), copy(staging));
  EXPECT_EQ(counter("inline_damaged"), 1u);
}

TEST_F(OneSidedTest, AServerThatCannotPullGetsTheData) {
  Ended ended;
  send(write(object()), ended);
  osd(1).reply_next(Errc::kRetryInline);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops.front().data, copy(buffer));
  EXPECT_EQ(osd(1).ops.front().op.tid, tid) << "the same op";
  osd(1).reply_next();
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.path_reason, kTracePathRetryInline);
  EXPECT_EQ(counter("inline_retry"), 1u);
}

TEST_F(OneSidedTest, WithoutAKeyTheDataGoesInline) {
  faults.refuse_keys = std::make_error_code(std::errc::not_enough_memory);
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.path_reason, kTracePathNoKey);
  EXPECT_EQ(counter("inline_no_key"), 1u);
}

TEST_F(OneSidedTest, MemoryThatIsNotOneRegisteredPieceGoesInline) {
  int number = 0;
  const auto inline_for = [&](auto change) {
    ObjectOp op = write(object());
    change(op);
    Ended ended;
    EXPECT_FALSE(send(std::move(op), ended).op.delivery) << number;
    osd(1).reply_next();
    settle();
    EXPECT_EQ(ended.reply.path_reason, kTracePathNotRegistered);
    EXPECT_EQ(counter("inline_not_registered"), static_cast<uint64_t>(++number));
  };
  inline_for([](ObjectOp& op) { op.one_sided.slice = {}; });
  inline_for([](ObjectOp& op) { op.one_sided.slice.offset = 1; });
  inline_for([](ObjectOp& op) { op.one_sided.slice.length -= 1; });
  inline_for([&](ObjectOp& op) { op.one_sided.slice.buffer = &staging; });
  inline_for([&](ObjectOp& op) {
    op.data = {ConstBytes(buffer.bytes()).first(10), ConstBytes(buffer.bytes()).subspan(10)};
  });
}

TEST_F(OneSidedTest, WhatIsNotWishedKeepsItsReason) {
  ObjectOp op = write(object());
  op.one_sided.wished = false;
  op.one_sided.reason = kTracePathBelowThreshold;
  Ended ended;
  EXPECT_FALSE(send(std::move(op), ended).op.delivery);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.path, kTracePathInline);
  EXPECT_EQ(ended.reply.path_reason, kTracePathBelowThreshold);
}

TEST_F(OneSidedTest, AReplayOnAnotherLinkCarriesTheData) {
  Ended before;
  send(write(object()), before);  // so that there is a session
  osd(1).reply_next();
  settle();
  faults.target = osd(1).address();
  faults.fail_sends = 1;  // the frame with the descriptor does not leave
  Ended ended;
  const Tid first = submit(write(object()), ended);
  pass(3s);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops.front().op.tid, first);
  EXPECT_EQ(osd(1).ops.front().op.attempt, 1u);
  EXPECT_EQ(osd(1).ops.front().data, copy(buffer));
  EXPECT_EQ(stack->keys_out(), 0u) << "the key went with its link";
  osd(1).reply_next();
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.path_reason, kTracePathResend);
  EXPECT_EQ(counter("inline_resend"), 1u);
}

TEST_F(OneSidedTest, AnAnswerOnAnotherLinkDoesNotEndTheOpBeforeTheKeyIsKnownDead) {
  Ended ended;
  const auto op = send(write(object()), ended);
  pass(100ms);  // the op is acknowledged: it will not be replayed
  faults.target = osd(1).address();
  faults.fail_sends = 1;
  Ended other;
  std::vector<std::byte> small = pattern(100);
  submit(write_op(object(), small), other);
  pass(3s);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(counter("keys_revoked"), 1u);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(other.times, 1);
}

TEST_F(OneSidedTest, AResetTakesTheKeyAndResendsInline) {
  Ended ended;
  send(write(object()), ended);
  restart(1);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops.front().data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
}

TEST_F(OneSidedTest, AnOpThatMovesGoesToItsNewServerWithoutTheOldOneHavingAKey) {
  Ended ended;
  send(write(object()), ended);
  OsdMap next = map;
  ++next.epoch;
  next.pools[0].members = {{0, 0x10000}};
  set_map(std::move(next));
  settle();
  EXPECT_EQ(stack->keys_out(), 0u);
  ASSERT_EQ(osd(0).ops.size(), 1u);
  EXPECT_EQ(osd(0).ops.front().data, copy(buffer));
  osd(0).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
}

// --- the gate ---

// A read is stalled past its timeout, its buffer used for something else, and then the server
// comes and writes.
TEST_F(OneSidedTest, ALatePushAfterATimeoutReachesNobodysMemory) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(read(object()), ended);
  pass(5100ms);
  EXPECT_EQ(osd(1).cancels, (std::vector<Tid>{tid})) << "asked before anything is taken by force";
  EXPECT_FALSE(ended.is_done) << "the server still has the key";
  EXPECT_EQ(stack->keys_out(), 1u);
  pass(2s);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(Errc::kTimedOut));
  EXPECT_EQ(stack->keys_out(), 0u);
  poison();
  move(op, true);
  osd(1).reply(op, pushed(op));
  pass(5s);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_TRUE(moved[0]);
  expect_poisoned();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(counter("keys_revoked"), 1u);
}

// The same where only the end of the link takes a key back: no done before that.
TEST_F(OneSidedTest, WithoutWindowsTheLinkIsDroppedForTheKey) {
  osd(1).confirms_cancels = false;
  faults.refuse_revoke = std::make_error_code(std::errc::operation_not_supported);
  Ended ended;
  const auto op = send(read(object()), ended);
  pass(6900ms);
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(stack->keys_out(), 1u);
  pass(300ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(stack->keys_out(), 0u);
  poison();
  move(op, true);
  pass(5s);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_TRUE(moved[0]) << "a key of a link that is gone";
  expect_poisoned();
  EXPECT_EQ(ended.times, 1);
  // The session lives on over another link.
  Ended next;
  const auto after = send(write(object()), next);
  EXPECT_TRUE(after.op.delivery);
  EXPECT_NE(after.link_generation, op.link_generation);
  faults.refuse_revoke = {};
  osd(1).ops.clear();
  osd(1).reply(after, osd(1).ok(after));
  settle();
  EXPECT_EQ(next.times, 1);
}

// An abort or a LUN reset takes the same way.
TEST_F(OneSidedTest, ALatePushAfterAnAbortReachesNobodysMemory) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(read(object()), ended);
  objecter->cancel(tid);
  pass(1900ms);
  EXPECT_FALSE(ended.is_done);
  pass(200ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(Errc::kCancelled));
  poison();
  move(op, true);
  osd(1).reply(op, pushed(op));
  pass(5s);
  expect_poisoned();
  EXPECT_EQ(ended.times, 1);
}

TEST_F(OneSidedTest, ALatePullOfATimedOutWriteGetsNothing) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(write(object()), ended);
  pass(7200ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(Errc::kTimedOut));
  poison();
  const auto before = copy(staging);
  move(op, false);
  pass(1s);
  EXPECT_TRUE(moved.at(0));
  EXPECT_EQ(copy(staging), before) << "what was not part of the IO left this host";
}

TEST_F(OneSidedTest, AWriteWaitsForItsGraceAlsoWhenTheKeyIsBack) {
  options.cancel_grace = 1s;
  osd(1).confirms_cancels = false;
  options.rkey_revoke_timeout = 100ms;
  shut_down();
  options.cancel_grace = 3s;
  make_objecter();
  settle();
  Ended ended;
  send(write(object()), ended);
  pass(5200ms);
  EXPECT_EQ(stack->keys_out(), 0u);
  EXPECT_FALSE(ended.is_done) << "nobody knows yet whether it executes";
  pass(3s);
  EXPECT_EQ(ended.times, 1);
}

// With the server's word on the key's own link nothing has to be taken by force.
TEST_F(OneSidedTest, CancelledOnTheSameLinkEndsTheOpWithWhateverWasPushedBehindIt) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(read(object()), ended);
  objecter->cancel(tid);
  settle();
  EXPECT_FALSE(ended.is_done);
  move(op, true);
  osd(1).send_cancelled(tid);
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(copy(buffer), copy(staging)) << "it was in front of the word, so before done";
  EXPECT_EQ(counter("keys_revoked"), 0u);
  EXPECT_EQ(stack->keys_out(), 0u);
}

TEST_F(OneSidedTest, AnAnswerWhileTheOpEndsFreesTheKeyToo) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(write(object()), ended);
  pass(5100ms);
  EXPECT_FALSE(ended.is_done);
  osd(1).ops.clear();
  osd(1).reply(op, osd(1).ok(op));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error) << "it was executed after all";
  EXPECT_EQ(counter("keys_revoked"), 0u);
}

TEST_F(OneSidedTest, ShutdownTakesKeysBackFirst) {
  Ended ended;
  send(read(object()), ended);
  shut_down();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(stack->keys_out(), 0u);
}

TEST_F(OneSidedTest, APushNobodyAskedForIsNoAnswer) {
  ObjectOp op = read(object());
  op.one_sided.wished = false;
  Ended ended;
  const auto received = send(std::move(op), ended);
  osd(1).reply(received, pushed(received));
  settle();
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(counter("reply_ignored"), 1u);
  osd(1).reply_next(Errc::kOk, copy(staging));
  settle();
  EXPECT_EQ(ended.times, 1);
}

// --- what the other side or the link lacks ---

class FewWindowsTest : public OneSidedTest {
 protected:
  FewWindowsTest() : OneSidedTest(one_sided_stack(1)) {}
};

TEST_F(FewWindowsTest, TheOpThatFindsNoneGoesInlineAndTheNextHasOneAgain) {
  Ended first, second, third;
  submit(write(object()), first);
  submit(write(object()), second);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 2u);
  EXPECT_TRUE(osd(1).ops[0].op.delivery);
  EXPECT_FALSE(osd(1).ops[1].op.delivery);
  osd(1).reply_next();
  osd(1).reply_next();
  settle();
  EXPECT_EQ(second.reply.path_reason, kTracePathNoKey);
  EXPECT_TRUE(send(write(object()), third).op.delivery);
  osd(1).reply_next();
  settle();
}

class OldServerTest : public OneSidedTest {
 protected:
  OldServerTest() { server_options.one_sided = false; }
};

TEST_F(OldServerTest, GetsTheDataInFrames) {
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.path_reason, kTracePathPeerLacks);
  EXPECT_EQ(counter("inline_peer_lacks"), 1u);
}

class PlainLinkTest : public OneSidedTest {
 protected:
  PlainLinkTest() : OneSidedTest(msgr::LoopbackOptions()) {}
};

TEST_F(PlainLinkTest, CarriesTheDataInFrames) {
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.path_reason, kTracePathLinkLacks);
  EXPECT_EQ(counter("inline_link_lacks"), 1u);
}

}  // namespace
}  // namespace lunar::objecter
