// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgr/errors.h"
#include "msgr/event_center.h"
#include "msgr/net/network_stack.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr {

inline std::string test_pattern(std::size_t length, unsigned seed) {
  std::string out(length, '\0');
  uint64_t state = seed * 2654435761u + 1;
  for (char& c : out) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    c = static_cast<char>(state >> 56);
  }
  return out;
}

// `data` is borrowed until the frame is sent.
inline Frame test_frame(uint64_t tid, std::string_view front, std::string_view data = {}) {
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(FrameTag::kMessage);
  frame.header.tid = tid;
  const ConstBytes bytes = as_const_bytes(front);
  frame.front.assign(bytes.begin(), bytes.end());
  if (!data.empty()) frame.data.push_back(as_const_bytes(data));
  return frame;
}

// One end of a link and what came in there.
struct TestPeer final : LinkHandler {
  std::unique_ptr<Link> link;
  std::vector<ReceivedFrame> frames;
  std::optional<std::error_code> closed;
  std::function<Bytes(const FrameHeader&)> place;
  std::function<void(ReceivedFrame&)> also_on_frame;
  std::function<void()> also_on_closed;
  int placements = 0;

  Bytes payload_for(const FrameHeader& header, ConstBytes) override {
    EXPECT_FALSE(closed);
    ++placements;
    return place ? place(header) : Bytes();
  }
  void on_frame(ReceivedFrame frame) override {
    EXPECT_FALSE(closed);
    frames.push_back(std::move(frame));
    if (also_on_frame) also_on_frame(frames.back());
  }
  void on_closed(std::error_code why) override {
    EXPECT_FALSE(closed) << "on_closed() is the last call";
    closed = why;
    if (also_on_closed) also_on_closed();
  }
  void attach(std::unique_ptr<Link> to) {
    link = std::move(to);
    link->set_handler(this);
  }
};

// Counts how often each `sent` ran.
struct SentCounter {
  std::vector<int> runs;
  std::vector<std::error_code> results;
  IoDone add() {
    const std::size_t i = runs.size();
    runs.push_back(0);
    results.emplace_back();
    return [this, i](std::error_code result) {
      ++runs[i];
      results[i] = result;
    };
  }
  std::size_t total() const {
    std::size_t sum = 0;
    for (const int n : runs) sum += static_cast<std::size_t>(n);
    return sum;
  }
  bool each_once() const {
    for (const int n : runs) {
      if (n != 1) return false;
    }
    return true;
  }
};

// Listens on `any`, connects, and attaches both ends. All on one center.
inline void connect_pair(EventCenter& center, NetworkStack& stack, const Address& any,
                         TestPeer& client, TestPeer& server) {
  std::unique_ptr<Link> accepted;
  auto listener = stack.listen(center, any, [&](std::unique_ptr<Link> link) {
    EXPECT_EQ(accepted, nullptr);
    accepted = std::move(link);
  });
  ASSERT_TRUE(listener) << listener.error().message;
  std::unique_ptr<Link> connected;
  bool called = false;
  const auto pending =
      stack.connect(center, (*listener)->local_address(), [&](Result<std::unique_ptr<Link>> link) {
        called = true;
        ASSERT_TRUE(link) << link.error().message();
        connected = std::move(*link);
      });
  EXPECT_FALSE(called) << "done runs later";
  ASSERT_TRUE(test::turn_until(center, [&] { return connected && accepted; }));
  client.attach(std::move(connected));
  server.attach(std::move(accepted));
}

// Closes what is open and waits until the links may be destroyed.
inline void close_all(EventCenter& center, std::initializer_list<TestPeer*> peers) {
  std::size_t left = 0;
  for (TestPeer* peer : peers) {
    if (!peer->link) continue;
    ++left;
    peer->link->close([&left] { --left; });
  }
  EXPECT_TRUE(test::turn_until(center, [&] { return left == 0; }));
  for (TestPeer* peer : peers) peer->link.reset();
}

}  // namespace lunar::msgr
