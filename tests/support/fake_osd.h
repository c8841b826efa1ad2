// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgr/messenger.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"
#include "tests/support/messenger_options.h"

namespace lunar::test {

// An object server that the test controls: it sends its hello and `map`, records the ops that
// arrive, and answers them when the test says so, or at once by `answer`.
// Loop-bound. Owns its messenger; the NetworkStack outlives it.
class FakeOsd final : private msgr::Dispatcher {
 public:
  struct Received {
    objecter::OsdOpHeader op;
    std::vector<std::byte> data;
    uint64_t trace_id = 0;
    msgr::Connection* from = nullptr;
    uint64_t link_generation = 0;
  };

  FakeOsd(msgr::EventCenter& center, msgr::NetworkStack& stack, objecter::OsdId id,
          msgr::MessengerOptions options = test::without_authentication(),
          const Keyring* keyring = nullptr);
  ~FakeOsd() override;  // REQUIRES: stop() is done

  // Listens; port 0 takes any.
  msgr::Address start(const msgr::Address& at = msgr::Address::loopback());
  const msgr::Address& address() const noexcept { return address_; }
  objecter::OsdId id() const noexcept { return id_; }
  // Stops listening and closes all sessions. `done` runs later.
  void stop(InlineFunction<void()> done);
  bool is_stopped() const noexcept { return is_stopped_; }

  // The fields of its hello; a nil store stands for the one that `map` means.
  objecter::ServerHello hello;
  bool says_hello = true;
  std::optional<objecter::OsdMap> map;
  bool answers_subscriptions = true;
  // Called for each op; the reply it returns is sent at once. Empty: the op stays in `ops`.
  std::function<std::optional<objecter::OsdReplyHeader>(const Received&)> answer;
  std::function<objecter::CommandReply(const std::string&)> on_command;
  // Called for each OsdBoot. Empty: the server is up in `map`.
  std::function<objecter::OsdBootReply(const objecter::OsdBoot&)> on_boot;
  bool confirms_cancels = true;
  bool answers_watch_pings = true;

  // Ops that arrived and are not answered, in order.
  std::deque<Received> ops;
  std::vector<objecter::Tid> cancels;
  std::vector<uint32_t> given_up;  // CancelNote::attempt of each of them
  std::vector<objecter::Epoch> subscriptions;
  std::vector<std::string> commands;
  std::vector<objecter::OsdBoot> boots;
  uint64_t sessions = 0;
  uint64_t watch_pings = 0;
  uint64_t ops_seen = 0;
  std::size_t peers() const noexcept { return peers_.size(); }  // with a session just now

  // A reply in which every step succeeded, without data.
  objecter::OsdReplyHeader ok(const Received& received) const;
  void reply(const Received& to, const objecter::OsdReplyHeader& header,
             const std::vector<std::byte>& data = {});
  // Answers the first of `ops` and forgets it.
  void reply_next(objecter::OsdErrc error = objecter::OsdErrc::kOk,
                  const std::vector<std::byte>& data = {});
  // Sends the hello to every session that has not had it.
  void say_hello();
  void push_map();                         // to all subscribers
  void send_cancelled(objecter::Tid tid);  // the answer to the last cancel of it
  // Any front to every session.
  void send_raw(objecter::MessageType type, std::vector<std::byte> front, uint64_t tid = 0);
  // Forgets every session, as a restart does; clients notice at their next frame.
  void drop_sessions();

 private:
  void on_open(msgr::Connection& connection) override;
  void on_message(msgr::Connection& connection, msgr::InMessage message) override;
  void on_reset(msgr::Connection& connection, std::error_code why) override;
  void on_op(msgr::Connection& connection, const msgr::InMessage& message);
  void send_hello(msgr::Connection& connection);
  void send_map(msgr::Connection& connection);
  void send(msgr::Connection& connection, objecter::MessageType type, std::vector<std::byte> front,
            uint64_t tid = 0, const std::vector<std::byte>& data = {});

  msgr::EventCenter& center_;
  msgr::NetworkStack& stack_;
  const objecter::OsdId id_;
  PerfRegistry perf_;
  std::unique_ptr<msgr::Messenger> messenger_;
  msgr::Address address_;
  struct Peer {
    msgr::ConnectionRef connection;
    bool heard_hello = false;
    bool is_subscribed = false;
  };
  std::map<msgr::Connection*, Peer> peers_;
  bool is_stopped_ = false;
};

}  // namespace lunar::test
