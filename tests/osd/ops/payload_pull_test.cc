// SPDX-License-Identifier: LGPL-2.1-or-later
// One-sided delivery at the executor: the payload is in the client's memory, or goes there. RDMA is
// a copy that the test can hold back.
#include "osd/ops/payload_pull.h"

#include <cstdlib>
#include <cstring>
#include <deque>

#include "common/crc32c.h"
#include "msgr/errors.h"
#include "osd/ops/payload_push.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using objecter::DeliveryAccess;
using objecter::DeliveryDescriptor;

constexpr uint32_t kFragment = 4096;

// Like an arena, whose buffers above some size are not registered.
class PartlyPlainPool final : public msgr::BufferPool {
 public:
  explicit PartlyPlainPool(std::size_t most) : most_(most) {}
  msgr::RegisteredBuffer allocate(std::size_t length) override {
    const auto memory = static_cast<std::byte*>(std::aligned_alloc(4096, (length + 4095) & ~4095));
    in_use_ += length;
    return {this, Bytes(memory, length), length > most_ ? 1u : 0u};
  }
  std::size_t bytes_in_use() const noexcept override { return in_use_; }
  bool is_registered(uint32_t cookie) const noexcept override { return cookie == 0; }

 private:
  void release(Bytes slice, uint32_t) noexcept override {
    in_use_ -= slice.size();
    std::free(slice.data());
  }
  const std::size_t most_;
  std::size_t in_use_ = 0;
};

class PulledFrom final : public msgr::RemoteMemory {
 public:
  explicit PulledFrom(msgr::EventCenter& center) : center_(center) {}

  std::string memory;       // at address 1 << 20
  uint64_t generation = 1;  // of the link that is up
  uint32_t at_once = 1 << 20;
  bool holds = false;       // reads wait for release()
  int fail_from = INT_MAX;  // reads from this number on fail
  int reads = 0;
  int writes = 0;
  bool understands_descriptors = true;

  void remote_read(const msgr::RemoteKey& from, msgr::RegisteredSlice local,
                   msgr::IoDone done) override {
    EXPECT_LE(local.length, at_once);
    EXPECT_EQ(from.length, local.length);
    const bool fails = reads++ >= fail_from;
    auto read = [this, from, local, fails](msgr::IoDone& then) {
      if (from.link_generation != generation) return then(msgr::MsgrErrc::kStaleKey);
      if (fails) return then(std::make_error_code(std::errc::io_error));
      std::memcpy(local.buffer->bytes().data() + local.offset,
                  memory.data() + (from.addr - (1u << 20)), local.length);
      then({});
    };
    waiting_.push_back({std::move(done), read});
    if (!holds) center_.post([this] { release(1); });
  }
  void release(std::size_t count = SIZE_MAX) {
    for (; count > 0 && !waiting_.empty(); --count) {
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      next.read(next.done);
    }
  }
  std::size_t waiting() const { return waiting_.size(); }

  void remote_write(msgr::RegisteredSlice, const msgr::RemoteKey&, msgr::IoDone) override {
    ++writes;
  }
  uint64_t link_generation() const noexcept override { return generation; }
  msgr::LinkCapabilities link_capabilities() const noexcept override {
    return {.one_sided = understands_descriptors, .max_fragment_bytes = at_once};
  }

 private:
  struct Waiting {
    msgr::IoDone done;
    std::function<void(msgr::IoDone&)> read;
  };
  msgr::EventCenter& center_;
  std::deque<Waiting> waiting_;
};

std::string text(std::size_t bytes, char first = 'a') {
  std::string out(bytes, 0);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(first + i * 7 % 26);
  return out;
}

class PayloadPullTest : public ExecutorFixture {
 protected:
  PayloadPullTest() : client(std::make_shared<PulledFrom>(*center)) {}

  // Gives a vector a delivery descriptor instead of data.
  ClientOpRef described(Vector vector, uint32_t fragment = kFragment) {
    const ClientOpRef op = vector.op();
    client->memory.assign(as_text(op->message.data));
    DeliveryDescriptor delivery;
    delivery.link_generation = 1;
    delivery.lease_ms = 60'000;
    delivery.has_crc = true;
    delivery.fragment_bytes = fragment;
    const auto bytes = static_cast<uint32_t>(client->memory.size());
    delivery.ranges = {{1u << 20, bytes / 2, 1}, {(1u << 20) + bytes / 2, bytes - bytes / 2, 2}};
    for (std::size_t at = 0; at < bytes; at += fragment) {
      delivery.crcs.push_back(crc32c(
          0,
          as_const_bytes(client->memory).subspan(at, std::min<std::size_t>(fragment, bytes - at))));
    }
    op->message.data = {};
    op->message.link_generation = 1;
    op->client_memory = client;
    op->arrived = std::chrono::steady_clock::now();
    op->header.flags |= objecter::kOpOneSided;
    op->header.delivery = delivery;
    EXPECT_TRUE(objecter::is_valid(op->header));
    return op;
  }
  OpResultRef run_op(const ClientOpRef& op) {
    executor->submit(op);
    turn();
    return result(op);
  }
  OpResultRef result(const ClientOpRef& op) {
    const auto found = results.find(op->header.tid);
    EXPECT_NE(found, results.end()) << "the op has not ended";
    return found == results.end() ? std::make_shared<OpResult>() : found->second;
  }
  OsdErrc retried(const ClientOpRef& op, const PerfCounter& reason) {
    const uint64_t before = reason.value();
    const OsdErrc error = run_op(op)->header.error;
    EXPECT_EQ(reason.value(), before + 1);
    EXPECT_TRUE(executor->is_idle()) << "it must not keep its place";
    return error;
  }

  std::shared_ptr<PulledFrom> client;
};

TEST_F(PayloadPullTest, AWriteOfManyFragmentsIsStoredWhole) {
  const std::string data = text(10 * kFragment + 100);
  const ClientOpRef op = described(Vector().write(512, data));
  const OpResultRef done = run_op(op);
  EXPECT_EQ(done->header.error, OsdErrc::kOk);
  EXPECT_EQ(done->header.bytes_one_sided, data.size());
  EXPECT_EQ(done->header.bytes_inline, 0u);
  EXPECT_EQ(content("obj", 512, data.size()), data);
  EXPECT_EQ(one_sided.pulls.value(), 11u);
  EXPECT_EQ(one_sided.pull_bytes.value(), data.size());
  EXPECT_EQ(one_sided.pulled_ops.value(), 1u);
}

TEST_F(PayloadPullTest, AFragmentThatTheLinkCannotMoveAtOnceIsReadInPieces) {
  client->at_once = 1000;
  const std::string data = text(3 * kFragment);
  EXPECT_EQ(run_op(described(Vector().write(0, data)))->header.error, OsdErrc::kOk);
  EXPECT_EQ(content("obj", 0, data.size()), data);
  EXPECT_GE(client->reads, 15);
}

TEST_F(PayloadPullTest, TheNextFragmentsArePulledWhileOneIsStored) {
  const ClientOpRef op = described(Vector().write(0, text(8 * kFragment)));
  store->hold(FaultyStore::Call::kWrite);
  executor->submit(op);
  turn();
  EXPECT_EQ(store->held(FaultyStore::Call::kWrite), 1u) << "one change of an object at a time";
  EXPECT_EQ(one_sided.pulls.value(), 3u) << "the slots are full";
  store->release(FaultyStore::Call::kWrite);
  turn();
  EXPECT_EQ(result(op)->header.error, OsdErrc::kOk);
  EXPECT_EQ(store->calls(FaultyStore::Call::kWrite), 8u);
}

TEST_F(PayloadPullTest, ADamagedFragmentIsNotStored) {
  const std::string old = text(4 * kFragment, 'A');
  run(Vector().write(0, old));
  const ObjectVersion before = versions->of_data({1, "obj"});
  ClientOpRef op = described(Vector().write(0, text(4 * kFragment)));
  client->memory[10] = '!';
  EXPECT_EQ(retried(op, one_sided.pull_damaged), OsdErrc::kRetryInline);
  EXPECT_EQ(content("obj", 0, old.size()), old);
  EXPECT_EQ(versions->of_data({1, "obj"}), before) << "nothing changed";

  op = described(Vector().write(0, text(4 * kFragment)));
  client->memory[2 * kFragment + 1] = '!';
  EXPECT_EQ(retried(op, one_sided.pull_damaged), OsdErrc::kRetryInline);
  EXPECT_NE(versions->of_data({1, "obj"}), before) << "some of it was stored";
  EXPECT_EQ(content("obj", 2 * kFragment, kFragment), old.substr(2 * kFragment, kFragment));
}

TEST_F(PayloadPullTest, AReadThatFailsInTheMiddleWaitsForTheOthers) {
  const ClientOpRef op = described(Vector().write(0, text(8 * kFragment)));
  client->holds = true;
  client->fail_from = 1;
  executor->submit(op);
  turn();
  EXPECT_EQ(client->waiting(), 3u);
  client->release(2);
  turn();
  EXPECT_FALSE(results.contains(op->header.tid)) << "a READ is still under way";
  client->release();
  turn();
  EXPECT_EQ(result(op)->header.error, OsdErrc::kRetryInline);
  EXPECT_EQ(one_sided.pull_failed.value(), 1u);
  EXPECT_EQ(client->reads, 3);
}

TEST_F(PayloadPullTest, AnotherLinkOrNoneIsStale) {
  ClientOpRef op = described(Vector().write(0, text(kFragment)));
  client->generation = 2;
  EXPECT_EQ(retried(op, one_sided.pull_stale), OsdErrc::kRetryInline);
  client->generation = 1;
  op = described(Vector().write(0, text(kFragment)));
  op->message.link_generation = 2;
  EXPECT_EQ(retried(op, one_sided.pull_stale), OsdErrc::kRetryInline);
  op = described(Vector().write(0, text(kFragment)));
  op->client_memory.reset();
  EXPECT_EQ(retried(op, one_sided.pull_stale), OsdErrc::kRetryInline);
  EXPECT_EQ(client->reads, 0);
}

TEST_F(PayloadPullTest, AClientThatWasToldOfNoDescriptorsIsAskedForTheData) {
  client->understands_descriptors = false;
  const ClientOpRef op = described(Vector().write(0, text(kFragment)));
  EXPECT_EQ(retried(op, one_sided.pull_stale), OsdErrc::kRetryInline);
  EXPECT_EQ(client->reads, 0);
}

TEST_F(PayloadPullTest, ALinkThatGoesInTheMiddleIsStaleToo) {
  const ClientOpRef op = described(Vector().write(0, text(8 * kFragment)));
  client->holds = true;
  executor->submit(op);
  turn();
  client->generation = 2;
  client->release();
  turn();
  EXPECT_EQ(result(op)->header.error, OsdErrc::kRetryInline);
  EXPECT_EQ(one_sided.pull_stale.value(), 1u);
}

TEST_F(PayloadPullTest, AWriteThatIsGivenUpInTheMiddlePullsNothingMore) {
  const ClientOpRef op = described(Vector().write(0, text(8 * kFragment)));
  store->hold(FaultyStore::Call::kWrite);
  executor->submit(op);
  turn();
  EXPECT_EQ(client->reads, 3) << "the slots are full";
  op->is_given_up = true;
  store->release(FaultyStore::Call::kWrite);
  turn();
  EXPECT_EQ(client->reads, 3);
  EXPECT_EQ(store->calls(FaultyStore::Call::kWrite), 1u);
  EXPECT_EQ(result(op)->header.error, OsdErrc::kRetryInline);
  EXPECT_EQ(one_sided.pull_given_up.value(), 1u);
  EXPECT_TRUE(executor->is_idle());
}

TEST_F(PayloadPullTest, AWriteThatIsGivenUpWithAllOfItHereIsStoredWhole) {
  const std::string data = text(3 * kFragment);
  const ClientOpRef op = described(Vector().write(0, data));
  store->hold(FaultyStore::Call::kWrite);
  executor->submit(op);
  turn();
  op->is_given_up = true;
  store->release(FaultyStore::Call::kWrite);
  turn();
  EXPECT_EQ(result(op)->header.error, OsdErrc::kOk);
  EXPECT_EQ(content("obj", 0, data.size()), data);
}

TEST_F(PayloadPullTest, AStagedVectorThatIsGivenUpDoesNothing) {
  const std::string old = text(2 * kFragment, 'A');
  run(Vector().write(0, old));
  const ClientOpRef op = described(Vector().compare(0, old).write(0, text(2 * kFragment)));
  client->holds = true;
  executor->submit(op);
  turn();
  op->is_given_up = true;
  client->release();
  turn();
  EXPECT_EQ(result(op)->header.error, OsdErrc::kRetryInline);
  EXPECT_EQ(content("obj", 0, old.size()), old);
}

TEST_F(PayloadPullTest, AReadThatIsGivenUpInTheStorePushesNothing) {
  run(Vector().write(0, text(kFragment)));
  const auto push = [this](bool gives_up) {
    const ClientOpRef op = Vector().read(0, kFragment).op();
    DeliveryDescriptor delivery;
    delivery.access = DeliveryAccess::kPush;
    delivery.link_generation = 1;
    delivery.lease_ms = 60'000;
    delivery.ranges = {{1u << 20, kFragment, 1}};
    op->header.delivery = delivery;
    op->message.link_generation = 1;
    op->client_memory = client;
    op->arrived = std::chrono::steady_clock::now();
    store->hold(FaultyStore::Call::kRead);
    executor->submit(op);
    turn();
    op->is_given_up = gives_up;
    store->release(FaultyStore::Call::kRead);
    turn();
    return push_payload(one_sided, *client, *op, result(op)).link_generation;
  };
  EXPECT_EQ(push(true), 0u);
  EXPECT_EQ(client->writes, 0);
  EXPECT_EQ(push(false), 1u);
  EXPECT_EQ(client->writes, 1);
}

TEST_F(PayloadPullTest, AfterTheLeaseNothingIsBegun) {
  const ClientOpRef op = described(Vector().write(0, text(kFragment)));
  op->arrived -= std::chrono::minutes(2);
  EXPECT_EQ(retried(op, one_sided.pull_lease_over), OsdErrc::kRetryInline);
  EXPECT_EQ(client->reads, 0);
}

TEST_F(PayloadPullTest, AStoreErrorIsNoReasonToSendAgain) {
  const ClientOpRef op = described(Vector().write(0, text(8 * kFragment)).idempotent());
  store->fail_next(FaultyStore::Call::kWrite, make_error_code(OsdErrc::kNoSpace));
  EXPECT_EQ(run_op(op)->header.error, OsdErrc::kNoSpace);
}

TEST_F(PayloadPullTest, WithoutMemoryItWaitsItsTurnAndThenIsToldToSend) {
  msgr::RegisteredBuffer all = pool->allocate(64u << 20);
  ClientOpRef op = described(Vector().write(0, text(4 * kFragment)));
  executor->submit(op);
  turn();
  EXPECT_FALSE(results.contains(op->header.tid)) << "memory may come free";
  all = {};
  executor->buffers_freed();
  turn();
  EXPECT_EQ(result(op)->header.error, OsdErrc::kOk);

  all = pool->allocate(64u << 20);
  limits.max_pull_wait = std::chrono::nanoseconds(0);
  op = described(Vector().write(0, text(4 * kFragment)));
  EXPECT_EQ(retried(op, one_sided.pull_no_memory), OsdErrc::kRetryInline);
}

TEST_F(PayloadPullTest, OneSlotIsEnough) {
  // All buffers but one are in use.
  msgr::RegisteredBuffer most = pool->allocate((64u << 20) - kFragment);
  const std::string data = text(4 * kFragment);
  EXPECT_EQ(run_op(described(Vector().write(0, data)))->header.error, OsdErrc::kOk);
  most = {};
  EXPECT_EQ(content("obj", 0, data.size()), data);
}

TEST_F(PayloadPullTest, WhatComparesIsStagedWholeFirst) {
  const std::string old = text(2 * kFragment, 'A');
  const std::string fresh = text(2 * kFragment, 'b');
  run(Vector().write(0, old));
  // The last fragment is damaged: the comparison is not made.
  ClientOpRef op = described(Vector().compare(0, old).write(0, fresh));
  client->memory.back() = '!';
  EXPECT_EQ(retried(op, one_sided.pull_damaged), OsdErrc::kRetryInline);
  EXPECT_EQ(content("obj", 0, old.size()), old);

  op = described(Vector().compare(0, old).write(0, fresh));
  const OpResultRef done = run_op(op);
  EXPECT_EQ(done->header.error, OsdErrc::kOk);
  EXPECT_EQ(done->header.bytes_one_sided, 4 * kFragment);
  EXPECT_EQ(done->header.bytes_inline, 0u);
  EXPECT_EQ(content("obj", 0, fresh.size()), fresh);
  op = described(Vector().compare(0, old).write(0, fresh));
  EXPECT_EQ(run_op(op)->header.error, OsdErrc::kMiscompare);
}

TEST_F(PayloadPullTest, AMetadataObjectIsStagedAndReplaced) {
  const std::string data = text(3 * kFragment);
  Vector vector("meta");
  vector.metadata().add(OpCode::kWriteFull, 0, data.size(), data);
  EXPECT_EQ(run_op(described(std::move(vector)))->header.error, OsdErrc::kOk);
  EXPECT_EQ(content("meta", 0, data.size()), data);
}

TEST_F(PayloadPullTest, OpsBehindItKeepTheirOrder) {
  client->holds = true;
  const ClientOpRef first = described(Vector().write(0, text(kFragment)));
  executor->submit(first);
  const ClientOpRef second = Vector().write(0, "behind").op();
  executor->submit(second);
  turn();
  EXPECT_TRUE(results.empty());
  client->release();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{first->header.tid, second->header.tid}));
  EXPECT_EQ(content("obj", 0, 6), "behind");
}

// A server whose buffers are registered up to the length of a fragment.
class PlainMemoryTest : public PayloadPullTest {
 protected:
  PlainMemoryTest() {
    executor.reset();
    turn();
    ledger->shutdown([] {});
    turn();
    ledger.reset();
    store.reset();
    pool = std::make_unique<PartlyPlainPool>(kFragment);
    make_store();
    versions = std::move(*ObjectVersions::load(*store, 7));
    ledger = load_ledger(7);
    make_executor();
  }
  ClientOpRef asking(uint32_t length) {
    const ClientOpRef op = Vector().read(0, length).op();
    DeliveryDescriptor delivery;
    delivery.access = DeliveryAccess::kPush;
    delivery.link_generation = 1;
    delivery.lease_ms = 60'000;
    delivery.fragment_bytes = kFragment;
    delivery.ranges = {{1u << 20, length, 1}};
    op->message.link_generation = 1;
    op->client_memory = client;
    op->arrived = std::chrono::steady_clock::now();
    op->header.delivery = delivery;
    return op;
  }
  Push pushed(uint32_t length) {
    const ClientOpRef op = asking(length);
    const auto read = std::make_shared<OpResult>();
    ReplyData piece;
    piece.buffer = pool->allocate(length);
    piece.length = length;
    read->data.push_back(std::move(piece));
    return push_payload(one_sided, *client, *op, read);
  }
};

TEST_F(PlainMemoryTest, AReplyInItIsNotSaidToBePushed) {
  EXPECT_EQ(pushed(kFragment).link_generation, 1u);
  EXPECT_EQ(client->writes, 1);
  EXPECT_EQ(pushed(kFragment + 1).link_generation, Push().link_generation);
  EXPECT_EQ(client->writes, 1);
  EXPECT_EQ(one_sided.push_plain.value(), 1u);
  EXPECT_EQ(one_sided.pushed_ops.value(), 1u);
}

TEST_F(PlainMemoryTest, NothingIsPulledIntoIt) {
  const std::string data = text(2 * kFragment);
  const ClientOpRef op = described(Vector().write(0, data), 2 * kFragment);
  EXPECT_EQ(retried(op, one_sided.pull_no_memory), OsdErrc::kRetryInline);
  const ClientOpRef staged = described(Vector().compare(0, data).write(0, data));
  EXPECT_EQ(retried(staged, one_sided.pull_no_memory), OsdErrc::kRetryInline);
  EXPECT_EQ(client->reads, 0);
  EXPECT_EQ(run_op(described(Vector().write(0, data)))->header.error, OsdErrc::kOk)
      << "a fragment at a time";
}

}  // namespace
}  // namespace lunar::osd
