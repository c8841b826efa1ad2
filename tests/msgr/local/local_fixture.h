// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tests/msgr/link_fixture.h"
#include "tests/msgr/local/folder_stack.h"
#include "tests/support/manual_clock.h"
#include "tests/support/sizes.h"

namespace lunar::msgr::local {

// A client and a server in one process, over one stack, as two processes would be: each end maps
// what the other hands over.
class LocalLinkTest : public testing::Test {
 protected:
  LocalLinkTest() {
    EventCenter::Options options;
    options.time = &clock_;
    center_ = std::move(*EventCenter::create(options));
  }
  ~LocalLinkTest() override {
    client_.frames.clear();
    server_.frames.clear();
    close_all(*center_, {&client_, &server_});
  }
  void connect() { connect_pair(*center_, stack_, Address::loopback(), client_, server_); }
  template <typename Done>
  bool until(Done done) {
    return test::turn_until(*center_, std::move(done));
  }

  RegisteredBuffer filled(std::size_t length, int seed) {
    RegisteredBuffer buffer = stack_.front_end_buffers().allocate(length);
    EXPECT_TRUE(buffer);
    std::memset(buffer.bytes().data(), seed, length);
    return buffer;
  }
  static RegisteredSlice whole(const RegisteredBuffer& buffer) {
    return {&buffer, 0, static_cast<uint32_t>(buffer.bytes().size())};
  }
  static bool has_only(const RegisteredBuffer& buffer, int value) {
    return std::ranges::all_of(buffer.bytes(),
                               [&](std::byte each) { return each == std::byte(value); });
  }
  // A key that the peer can use, since a frame has come after it.
  RemoteKey expose(TestPeer& owner, TestPeer& other, const RegisteredBuffer& buffer,
                   RemoteAccess access) {
    const auto key = owner.link->expose(whole(buffer), access);
    EXPECT_TRUE(key) << key.error().message();
    const std::size_t before = other.frames.size();
    owner.link->send(test_frame(1, "key"), {});
    EXPECT_TRUE(until([&] { return other.frames.size() > before; }));
    return key ? *key : RemoteKey();
  }
  std::error_code read(TestPeer& peer, const RemoteKey& key, const RegisteredBuffer& into) {
    return finish([&](IoDone done) { peer.link->remote_read(key, whole(into), std::move(done)); });
  }
  std::error_code write(TestPeer& peer, const RegisteredBuffer& from, const RemoteKey& key) {
    return finish([&](IoDone done) { peer.link->remote_write(whole(from), key, std::move(done)); });
  }
  std::error_code revoke(TestPeer& peer, const RemoteKey& key) {
    return finish([&](IoDone done) { peer.link->revoke(key, std::move(done)); });
  }
  template <typename Begin>
  std::error_code finish(Begin begin) {
    std::optional<std::error_code> result;
    begin([&](std::error_code error) { result = error; });
    EXPECT_FALSE(result) << "done runs later";
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return *result;
  }
  uint64_t counted(const char* name) const {
    return nlohmann::json::parse(stack_.perf().dump("local"))["local"][name].get<uint64_t>();
  }

  test::ManualClock clock_;
  FolderStack stack_;
  std::unique_ptr<EventCenter> center_;
  TestPeer client_, server_;
};

}  // namespace lunar::msgr::local
