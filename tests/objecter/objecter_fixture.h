// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgr/errors.h"
#include "msgr/loopback/loopback_stack.h"
#include "objecter/objecter.h"
#include "objecter/protocol/placement.h"
#include "objecter/protocol/steps.h"
#include "tests/support/fake_osd.h"
#include "tests/support/manual_clock.h"
#include "tests/support/messenger_options.h"

namespace lunar::objecter {

using namespace std::chrono_literals;

// What tests fill the buffers with that an op must leave alone after done.
inline constexpr std::byte kPoison{0xee};

// Lets a test break and stall the client's links to one server.
struct LinkFaults final : msgr::LoopbackInjector {
  msgr::Address target;
  bool refuse = false;                   // connects
  bool stall = false;                    // what is sent from now on takes an hour
  int fail_sends = 0;                    // so many sends break their link
  std::size_t receive_bytes = SIZE_MAX;  // so many more arrive, the others in an hour
  Verdict on_connect(const msgr::Address& peer) override;
  Verdict on_send(const msgr::Address& peer, std::size_t bytes) override;
  Verdict on_receive(const msgr::Address& peer, std::size_t bytes) override;
  // One-sided.
  std::error_code refuse_keys;             // expose()
  std::error_code refuse_revoke;           // as if only the link's end took a key back
  std::function<void(Bytes)> damage_push;  // what was written into the client's memory
  std::error_code on_expose(std::size_t) override { return refuse_keys; }
  std::error_code on_revoke() override { return refuse_revoke; }
  std::error_code on_moved(bool is_write, Bytes moved) override {
    if (is_write && damage_push) damage_push(moved);
    return {};
  }
};

// How an op ended. May be gone before the op is: then nobody is told.
struct Ended {
  Ended() = default;
  Ended(const Ended&) = delete;
  Ended& operator=(const Ended&) = delete;
  ~Ended() { *self = nullptr; }
  bool is_done = false;
  int times = 0;
  OpReply reply;
  std::vector<std::byte> data;  // a copy of reply.data
  const std::shared_ptr<Ended*> self = std::make_shared<Ended*>(this);
};

// An Objecter and fake servers on one loop with a clock that only the test moves.
class ObjecterFixture : public testing::Test {
 protected:
  explicit ObjecterFixture(msgr::LoopbackOptions stack_options = {});
  // Ends the Objecter while the buffers of a derived fixture are still there.
  void TearDown() override;

  // Servers 0 … count - 1, all up, one pool "rbd" (id 1) over them, the map given to all.
  void start_servers(int count);
  void make_objecter();  // with `options`; bootstraps from server 0 unless options say otherwise
  void start(int count) {
    start_servers(count);
    make_objecter();
    settle();
    ASSERT_NE(objecter->map(), nullptr);
  }

  // All that can happen without time passing; and with.
  void settle() { center->run_until_idle(); }
  void pass(std::chrono::nanoseconds time);

  test::FakeOsd& osd(int id) { return *servers.at(static_cast<std::size_t>(id)); }
  // As after kill -9: its sessions and incarnation are gone, the address stays.
  void restart(int id, bool same_incarnation = false);
  void set_map(OsdMap map, bool push = true);  // on all servers

  // A name that belongs to this server.
  std::string object_on(OsdId id, int number = 0) const;
  ObjectOp write_op(const std::string& name, std::vector<std::byte>& data,
                    uint16_t flags = kOpIdempotent);
  ObjectOp read_op(const std::string& name, std::vector<std::byte>& into);
  Tid submit(ObjectOp op, Ended& ended);
  uint64_t counter(const std::string& name) const;

  test::ManualClock clock;
  LinkFaults faults;
  std::unique_ptr<msgr::EventCenter> center;
  std::unique_ptr<msgr::LoopbackStack> stack;
  msgr::MessengerOptions server_options = test::without_authentication();
  Keyring* server_keyring = nullptr;
  std::vector<std::unique_ptr<test::FakeOsd>> servers;
  OsdMap map;
  Objecter::Options options;
  msgr::MessengerOptions client_options = test::without_authentication();
  Keyring* client_keyring = nullptr;
  PerfRegistry perf;
  std::unique_ptr<Objecter> objecter;

  void shut_down();
  void stop_server(int id);
};

std::vector<std::byte> pattern(std::size_t size, uint8_t first = 1);

}  // namespace lunar::objecter
