// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "msgr/rdma/link/rdma_link.h"
#include "tests/msgr/link_fixture.h"
#include "tests/msgr/rdma/link/joined_stack.h"
#include "tests/support/sizes.h"

namespace lunar::msgr::rdma {

// The two ends of an RDMA link on a real (or software) device; the parameter: with an SRQ.
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
    // Binds are executed before later frames, so when a frame has arrived, the bind is done.
    TestPeer& other = &peer == &client_ ? server_ : client_;
    const std::size_t before = other.frames.size();
    peer.link->send(test_frame(1, "here is a key"), {});
    EXPECT_TRUE(until([&] { return other.frames.size() > before || peer.closed; }));
    EXPECT_FALSE(peer.closed) << peer.closed->message();
    return key.value_or(RemoteKey());
  }
  // Returns the result that `done` got.
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
  // The end that owns the memory might not be told; it notices when it sends.
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

}  // namespace lunar::msgr::rdma
