// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/crc32c.h"
#include "tests/objecter/objecter_fixture.h"

// One-sided delivery. The server moves payloads when the test tells it to. After done the fixture
// overwrites the op's buffer, so that any later use of it shows.

namespace lunar::objecter {

inline constexpr uint32_t kBytes = 200'000;

inline msgr::LoopbackOptions one_sided_stack(std::size_t windows = SIZE_MAX) {
  msgr::LoopbackOptions options;
  options.one_sided = true;
  options.windows = windows;
  return options;
}

class DeliveryFixture : public ObjecterFixture {
 protected:
  explicit DeliveryFixture(msgr::LoopbackOptions stack_options = one_sided_stack())
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
    op.delivery.delivery = Delivery::kOneSided;
    op.delivery.slice = {&buffer, 0, kBytes};
    op.delivery.fragment_bytes = 65536;
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

  // Pulls or pushes as a server does; the result of the last fragment goes into `moved`.
  void move(const test::FakeOsd::Received& op, bool push) {
    moved.clear();
    for (const auto& fragment : cut_delivery(*op.op.delivery, 0, kBytes, 1u << 20)) {
      const msgr::RegisteredSlice local{&staging, static_cast<uint32_t>(fragment.offset),
                                        fragment.length};
      auto done = [this](std::error_code error) { moved.push_back(error); };
      if (push) {
        op.from->remote_write(local, fragment.key, done);
      } else {
        op.from->remote_read(fragment.key, local, done);
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
  // Submits to server 1 and returns the op that arrives there.
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

}  // namespace lunar::objecter
