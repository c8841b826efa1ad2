// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "msgr/buffer.h"
#include "osd/ops/op_check.h"
#include "osd/ops/op_executor.h"
#include "osd/store/mem_store.h"
#include "tests/osd/store/faulty_store.h"
#include "tests/support/manual_clock.h"

namespace lunar::osd {

// A store in memory that fails or holds calls on demand, on a loop that the test turns.
class StoreFixture : public ::testing::Test {
 protected:
  StoreFixture() {
    msgr::EventCenter::Options timed;
    timed.time = &clock;
    center = std::move(*msgr::EventCenter::create(timed));
    pool = msgr::make_heap_buffer_pool(64u << 20, 0);
    make_store();
  }
  void make_store() {
    MemStore::Options options;
    options.identity = {Uuid::random(), Uuid::random(), 0};
    store =
        std::make_unique<FaultyStore>(*center, std::make_unique<MemStore>(*center, *pool, options));
  }
  OpStore op_store() { return {*store, *store, *store, store->buffers()}; }
  void turn() { center->run_until_idle(); }
  // Until the marks of flushed images are gone.
  void pass_idle_time() {
    for (int i = 0; i < 2; ++i) {
      clock.advance(UnflushedMarks::kIdle);
      turn();
    }
  }

  std::unique_ptr<UnflushedLedger> load_ledger(uint64_t incarnation) {
    std::unique_ptr<UnflushedLedger> loaded;
    UnflushedLedger::load(*center, *store, *store, incarnation,
                          [&](Outcome<std::unique_ptr<UnflushedLedger>> result) {
                            ASSERT_TRUE(result) << result.error().message;
                            loaded = std::move(*result);
                          });
    turn();
    return loaded;
  }

  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  std::unique_ptr<msgr::BufferPool> pool;
  std::unique_ptr<FaultyStore> store;
};

inline std::string zeros(std::size_t count) { return std::string(count, '\0'); }

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const ConstBytes bytes = as_const_bytes(text);
  return {bytes.begin(), bytes.end()};
}

// An op built step by step: Vector("a").write(0, "x").op().
class Vector {
 public:
  explicit Vector(std::string object = "obj") {
    op_ = std::make_shared<ClientOp>();
    op_->header.object = object;
    op_->header.image = 1;
    op_->header.pg.pool = 1;
    op_->object = {1, std::move(object)};
    op_->client = std::make_shared<const ClientName>(ClientName{"client.a", "host"});
  }
  Vector& add(OpCode code, uint64_t offset, uint64_t length, std::string_view data = {},
              uint16_t flags = 0, std::string name = {}) {
    SubOp step;
    step.code = code;
    step.offset = offset;
    step.length = length;
    step.flags = flags;
    step.data_length = static_cast<uint32_t>(data.size());
    step.name = std::move(name);
    op_->header.steps.push_back(std::move(step));
    data_ += data;
    return *this;
  }
  Vector& write(uint64_t offset, std::string_view data, uint16_t flags = 0) {
    return add(OpCode::kWrite, offset, data.size(), data, flags);
  }
  Vector& read(uint64_t offset, uint64_t length) { return add(OpCode::kRead, offset, length); }
  Vector& compare(uint64_t offset, std::string_view data) {
    return add(OpCode::kCmpExt, offset, data.size(), data);
  }
  Vector& assert_version(ObjectVersion version) {
    add(OpCode::kAssertVersion, 0, 0);
    op_->header.steps.back().version = version;
    return *this;
  }
  // Of a FLUSH: the loss that its client has heard of.
  Vector& heard(uint64_t loss) {
    op_->header.steps.back().version.incarnation = loss;
    return *this;
  }
  Vector& metadata() {
    op_->header.flags |= objecter::kOpMetadata;
    return *this;
  }
  Vector& idempotent() {
    op_->header.flags |= objecter::kOpIdempotent;
    return *this;
  }
  Vector& image(ImageId image) {
    op_->header.image = image;
    return *this;
  }
  Vector& client(std::string entity) {
    op_->client = std::make_shared<const ClientName>(ClientName{std::move(entity), "host"});
    return *this;
  }
  Vector& tid(Tid tid, Tid oldest = 1) {
    op_->header.tid = tid;
    op_->header.oldest_tid = oldest;
    return *this;
  }
  Vector& attempt(uint32_t attempt) {
    op_->header.attempt = attempt;
    return *this;
  }
  ClientOpRef op() {
    if (op_->header.tid == 0) op_->header.tid = ++last_tid_;
    payload_ = bytes_of(data_);
    // The message owns its payload, as one that came off a link does.
    auto kept = std::make_shared<std::vector<std::byte>>(payload_);
    op_->message.data = *kept;
    op_->message.release_throttle = [kept] {};
    return op_;
  }

 private:
  ClientOpRef op_;
  std::string data_;
  std::vector<std::byte> payload_;
  static inline Tid last_tid_ = 1000;
};

inline std::string text_of(const OpResult& result) {
  std::string text;
  for (const ReplyData& data : result.data) text += as_text(data.view());
  return text;
}

class ExecutorFixture : public StoreFixture {
 protected:
  ExecutorFixture() {
    versions = std::move(*ObjectVersions::load(*store, 7));
    ledger = load_ledger(7);
    make_executor();
  }
  ~ExecutorFixture() override {
    turn();
    executor.reset();
    ledger->shutdown([] {});
    turn();
  }
  void make_executor() {
    executor = std::make_unique<OpExecutor>(
        OpEnvironment{*center, op_store(), *versions, *ledger, limits, one_sided},
        [this](ClientOpRef op, OpResultRef result) {
          order.push_back(op->header.tid);
          results.emplace(op->header.tid, std::move(result));
        });
  }
  // Runs an op to its end.
  OpResultRef run(Vector vector) {
    const ClientOpRef op = vector.op();
    executor->submit(op);
    turn();
    const auto found = results.find(op->header.tid);
    EXPECT_NE(found, results.end()) << "the op has not ended";
    return found == results.end() ? nullptr : found->second;
  }
  OsdErrc error_of(Vector vector) { return run(std::move(vector))->header.error; }
  std::string content(std::string object, uint64_t offset, uint64_t length) {
    return text_of(*run(Vector(std::move(object)).read(offset, length)));
  }

  OpLimits limits;
  PerfRegistry perf;
  OneSidedCounters one_sided{perf};
  std::unique_ptr<ObjectVersions> versions;
  std::unique_ptr<UnflushedLedger> ledger;
  std::unique_ptr<OpExecutor> executor;
  std::vector<Tid> order;  // tids in the order their ops ended
  std::map<Tid, OpResultRef> results;
};

}  // namespace lunar::osd
