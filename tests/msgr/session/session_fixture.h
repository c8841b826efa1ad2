// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/keyring.h"
#include "common/perf_counters.h"
#include "msgr/errors.h"
#include "msgr/event_center.h"
#include "msgr/loopback/loopback_stack.h"
#include "msgr/messenger.h"
#include "msgr/session/handshake_messages.h"
#include "tests/support/messenger_options.h"
#include "tests/support/virtual_time.h"

namespace lunar::msgr {

// Breaks, delays or swallows the steps that a test chooses. Used on one center.
struct TestInjector final : LoopbackInjector {
  Verdict on_connect(const Address& peer) override {
    Verdict verdict;
    ++connects;
    if (refuse.count(peer) != 0) verdict.fail = std::make_error_code(std::errc::connection_refused);
    return verdict;
  }
  Verdict on_send(const Address&, std::size_t bytes) override {
    Verdict verdict;
    verdict.delay = black_hole ? std::chrono::hours(1) : delay;
    if (stop_sending_above != 0 && bytes > stop_sending_above) {
      verdict.limit = stop_sending_above;
      black_hole = true;  // from the next step on
    }
    if (cut_next_send) {
      cut_next_send = false;
      verdict.limit = bytes / 2;
      verdict.fail = make_error_code(MsgrErrc::kInjected);
    }
    return verdict;
  }
  std::error_code on_revoke() override { return refuse_revoke; }
  std::map<Address, bool> refuse;
  std::error_code refuse_revoke;
  int connects = 0;
  std::chrono::nanoseconds delay{0};
  bool black_hole = false;
  bool cut_next_send = false;
  std::size_t stop_sending_above = 0;
};

// Records the events of a connection. The hooks run first.
struct Recorder final : Dispatcher {
  struct Received {
    uint64_t tid;
    uint16_t type;
    std::string front;
    std::string data;
  };
  void on_open(Connection& connection) override {
    ++opens;
    last = &connection;
    if (when_open) when_open(connection);
  }
  Bytes payload_for(Connection&, const MessageMeta& meta, ConstBytes, std::size_t bytes) override {
    return place ? place(meta, bytes) : Bytes();
  }
  void on_message(Connection& connection, InMessage message) override {
    received.push_back({message.meta.tid, message.meta.type, std::string(as_text(message.front)),
                        std::string(as_text(message.data))});
    if (when_message) when_message(connection, message);
    if (keep_messages) kept.push_back(std::move(message));
  }
  void on_reset(Connection& connection, std::error_code why) override {
    resets.push_back(why);
    if (when_reset) when_reset(connection, why);
  }
  void on_link(Connection&, bool up) override { (up ? links_up : links_down)++; }

  int opens = 0;
  int links_up = 0;
  int links_down = 0;
  std::vector<Received> received;
  std::vector<std::error_code> resets;
  std::vector<InMessage> kept;
  Connection* last = nullptr;  // the newest; valid until its on_reset()
  bool keep_messages = false;
  std::function<void(Connection&)> when_open;
  std::function<void(Connection&, InMessage&)> when_message;
  std::function<void(Connection&, std::error_code)> when_reset;
  std::function<Bytes(const MessageMeta&, std::size_t)> place;
};

// Counts messages that exist, and records for which links each was encoded.
struct Probe {
  int alive = 0;
  std::vector<uint64_t> encoded_for;
};
class ProbeMessage final : public OutMessage {
 public:
  ProbeMessage(Probe& probe, MessageMeta meta, std::string front, std::string data = {})
      : OutMessage(meta), probe_(probe), front_(std::move(front)), data_(std::move(data)) {
    ++probe_.alive;
  }
  ~ProbeMessage() override { --probe_.alive; }
  void encode(Link&, uint64_t generation, EncodedMessage& out) override {
    probe_.encoded_for.push_back(generation);
    const ConstBytes front = as_const_bytes(front_);
    out.front.assign(front.begin(), front.end());
    if (!data_.empty()) out.data.push_back(as_const_bytes(data_));
  }
  std::size_t data_bytes() const noexcept override { return data_.size(); }

 private:
  Probe& probe_;
  const std::string front_;
  const std::string data_;
};

inline MessageMeta meta(uint64_t tid, Priority priority = Priority::kDefault) {
  return MessageMeta{100, priority, tid, 0};
}

// One messenger and what it reports.
struct Node {
  Recorder events;
  PerfRegistry perf;
  std::unique_ptr<Messenger> messenger;
  bool is_shut_down = false;
};

// Several messengers on one center over a loopback network, turned by the test itself, in virtual
// time.
class SessionFixture : public ::testing::Test {
 protected:
  SessionFixture()
      : center_(std::move(*EventCenter::create(center_options()))), stack_(stack_options()) {}
  ~SessionFixture() override {
    injector_.black_hole = false;
    for (auto& node : nodes_) shut_down(*node);
    nodes_.clear();
    EXPECT_EQ(stack_.buffers().bytes_in_use(), 0u) << "somebody kept a buffer";
  }

  EventCenter::Options center_options() {
    EventCenter::Options options;
    options.time = &time_;
    return options;
  }
  LoopbackOptions stack_options() {
    LoopbackOptions options;
    options.injector = &injector_;
    options.one_sided = true;
    return options;
  }
  static MessengerOptions quick_options(std::string entity) {
    MessengerOptions options = test::without_authentication();
    options.entity = std::move(entity);
    options.instance = "test";
    options.initial_backoff = std::chrono::milliseconds(1);
    options.max_backoff = std::chrono::milliseconds(4);
    options.connection_ready_timeout = std::chrono::seconds(20);
    options.inject_seed = 1;
    return options;
  }

  Node& add_node(MessengerOptions options, const Keyring* keyring = nullptr) {
    auto node = std::make_unique<Node>();
    auto made = Messenger::create(*center_, stack_, std::move(options), keyring, &node->perf,
                                  &node->events);
    EXPECT_TRUE(made.has_value()) << made.error().message;
    node->messenger = std::move(*made);
    nodes_.push_back(std::move(node));
    return *nodes_.back();
  }
  Node& add_server(Policy accepted = Policy::kStatefulServer) {
    Node& node = add_node(quick_options("osd.0"));
    address_ = *node.messenger->bind(Address::loopback(), accepted);
    return node;
  }
  void shut_down(Node& node) {
    if (node.is_shut_down) return;
    node.events.kept.clear();
    bool done = false;
    node.messenger->shutdown([&done] { done = true; });
    EXPECT_TRUE(until([&] { return done; })) << "shutdown() never ended";
    node.messenger.reset();
    node.is_shut_down = true;
  }
  bool until(const std::function<bool()>& done) { return time_.turn_until(*center_, done); }
  void pass(std::chrono::milliseconds duration) { time_.pass(*center_, duration); }
  // Runs everything that is due now.
  void settle() { center_->run_until_idle(); }

  static void send(Connection& connection, uint64_t tid, std::string front,
                   Priority priority = Priority::kDefault) {
    const ConstBytes bytes = as_const_bytes(front);
    connection.send(std::make_unique<SimpleMessage>(
        meta(tid, priority), std::vector<std::byte>(bytes.begin(), bytes.end())));
  }

  Probe probe_;  // outlives the messages it watches
  Probe reply_;
  test::VirtualTime time_;
  std::unique_ptr<EventCenter> center_;
  TestInjector injector_;
  LoopbackStack stack_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Address address_;  // of the server
};

}  // namespace lunar::msgr
