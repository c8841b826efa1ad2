// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;
using ReconnectTest = SessionFixture;

TEST_F(ReconnectTest, LinksThatBringSomethingDoNotLengthenThePause) {
  Node& server = add_server();
  server.events.when_message = [](Connection& from, InMessage& message) {
    send(from, message.meta.tid, "reply");
  };
  MessengerOptions options = quick_options("client.a");
  options.initial_backoff = 50ms;
  options.max_backoff = 1h;
  Node& client = add_node(std::move(options));
  ConnectionRef connection = client.messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return client.events.opens == 1; }));
  // Doubling, the pauses would soon be longer than until() waits.
  for (uint64_t tid = 1; tid <= 12; ++tid) {
    injector_.cut_next_send = true;
    send(*connection, tid, "request");
    ASSERT_TRUE(until([&] { return client.events.received.size() == tid; })) << "request " << tid;
  }
  EXPECT_EQ(client.events.links_down, 12);
  EXPECT_EQ(server.events.received.size(), 12u);
}

}  // namespace
}  // namespace lunar::msgr
