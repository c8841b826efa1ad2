// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What every transport must do, one body for all of them. A new stack adds an entry to the
// transports_under_test() of an executable; tests of one stack alone are elsewhere.

#include "tests/msgr/transport_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "msgr/event/worker_thread.h"
#include "tests/msgr/link_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::msgr {
namespace {

class TransportTest : public testing::TestWithParam<Transport> {
 protected:
  TransportTest()
      : any_(*Address::parse(GetParam().any_address)),
        center_(std::move(*EventCenter::create({}))),
        stack_(GetParam().make(64 * kMiB)) {}
  void TearDown() override {
    client_.frames.clear();
    server_.frames.clear();
    close_all(*center_, {&client_, &server_});
  }
  void connect() { connect_pair(*center_, *stack_, any_, client_, server_); }
  template <typename Done>
  bool until(Done done) {
    return test::turn_until(*center_, std::move(done));
  }

  const Address any_;
  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<NetworkStack> stack_;
  TestPeer client_, server_;
};

TEST_P(TransportTest, BothEndsKnowTheirAddresses) {
  connect();
  EXPECT_EQ(client_.link->peer_address(), server_.link->local_address());
  EXPECT_EQ(server_.link->peer_address(), client_.link->local_address());
  EXPECT_EQ(client_.link->peer_address().family(), any_.family());
  EXPECT_NE(client_.link->peer_address().port(), 0);
}

TEST_P(TransportTest, FramesArriveInOrderBothWays) {
  connect();
  constexpr uint64_t kFrames = 300;
  const std::string data = test_pattern(20'000, 1);
  for (uint64_t i = 0; i < kFrames; ++i) {
    const auto length = i * 67 % 20'000;
    client_.link->send(test_frame(i, std::to_string(i), data.substr(0, 0)), {});
    client_.link->send(test_frame(i, "data", std::string_view(data).substr(0, length)), {});
    server_.link->send(test_frame(i, std::string(i, 'x')), {});
  }
  ASSERT_TRUE(until(
      [&] { return server_.frames.size() == 2 * kFrames && client_.frames.size() == kFrames; }));
  for (uint64_t i = 0; i < kFrames; ++i) {
    const ReceivedFrame& plain = server_.frames[2 * i];
    const ReceivedFrame& with_data = server_.frames[2 * i + 1];
    ASSERT_EQ(plain.header.tid.value(), i);
    EXPECT_EQ(as_text(plain.front), std::to_string(i));
    EXPECT_TRUE(plain.data.empty());
    ASSERT_EQ(with_data.header.tid.value(), i);
    EXPECT_EQ(as_text(with_data.data), data.substr(0, i * 67 % 20'000));
    EXPECT_EQ(client_.frames[i].front.size(), i);
  }
}

TEST_P(TransportTest, FramesOfOneTurnLeaveTogether) {
  connect();
  for (uint64_t i = 0; i < 100; ++i) client_.link->send(test_frame(i, "small"), {});
  EXPECT_EQ(client_.link->counters().send_calls, 0u);
  ASSERT_TRUE(until([&] { return server_.frames.size() == 100; }));
  EXPECT_EQ(client_.link->counters().send_calls, 1u);
  EXPECT_EQ(client_.link->counters().frames_sent, 100u);
  EXPECT_EQ(client_.link->counters().bytes_sent, 100u * (64 + 5));
  EXPECT_EQ(server_.link->counters().bytes_received, 100u * (64 + 5));
  EXPECT_EQ(server_.link->counters().frames_received, 100u);
}

TEST_P(TransportTest, ASmallRoundTripIsOneSendAndOneReceiveOnEachSide) {
  connect();
  server_.also_on_frame = [&](ReceivedFrame& frame) {
    server_.link->send(test_frame(frame.header.tid.value(), "reply"), {});
  };
  for (uint64_t i = 1; i <= 50; ++i) {
    client_.link->send(test_frame(i, "request"), {});
    ASSERT_TRUE(until([&] { return client_.frames.size() == i; }));
  }
  for (const TestPeer* peer : {&client_, &server_}) {
    EXPECT_EQ(peer->link->counters().send_calls, 50u);
    EXPECT_EQ(peer->link->counters().receive_calls, 50u);
  }
}

TEST_P(TransportTest, ALargePayloadGoesStraightToItsPlace) {
  connect();
  const std::string data = test_pattern(4 * kMiB + 123, 2);
  std::vector<std::byte> memory(data.size());
  server_.place = [&](const FrameHeader& header) {
    EXPECT_EQ(header.tid.value(), 5u);
    return Bytes(memory);
  };
  Frame frame = test_frame(5, "front");
  const ConstBytes whole = as_const_bytes(data);
  for (const ConstBytes part :
       {whole.first(1), whole.subspan(1, kMiB), whole.first(0), whole.subspan(kMiB + 1)}) {
    frame.data.push_back(part);
  }
  client_.link->send(std::move(frame), {});
  client_.link->send(test_frame(6, "next"), {});
  ASSERT_TRUE(until([&] { return server_.frames.size() == 2; }));
  EXPECT_EQ(server_.frames[0].data.data(), memory.data());
  EXPECT_FALSE(server_.frames[0].buffer);
  EXPECT_TRUE(as_text(memory) == data);
  EXPECT_EQ(as_text(server_.frames[1].front), "next");
}

TEST_P(TransportTest, APayloadWithoutAPlaceComesInAPageAlignedBufferOfThePool) {
  connect();
  const std::string data = test_pattern(100'000, 3);
  client_.link->send(test_frame(1, "", data), {});
  ASSERT_TRUE(until([&] { return server_.frames.size() == 1; }));
  const ReceivedFrame& frame = server_.frames[0];
  EXPECT_TRUE(frame.buffer);
  EXPECT_EQ(frame.data.data(), frame.buffer.bytes().data());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(frame.data.data()) % 4096, 0u);
  EXPECT_TRUE(as_text(frame.data) == data);
  server_.frames.clear();
  EXPECT_EQ(stack_->buffers().bytes_in_use(), 0u);
}

TEST_P(TransportTest, SentRunsOnceAndLater) {
  connect();
  SentCounter sent;
  const std::string data = test_pattern(kMiB, 4);
  for (uint64_t i = 0; i < 20; ++i) client_.link->send(test_frame(i, "f", data), sent.add());
  EXPECT_EQ(sent.total(), 0u);
  EXPECT_EQ(client_.link->queued_bytes(), 20 * (64 + 1 + data.size()));
  ASSERT_TRUE(until([&] { return server_.frames.size() == 20 && sent.total() == 20; }));
  EXPECT_TRUE(sent.each_once());
  for (const auto& result : sent.results) EXPECT_FALSE(result);
  EXPECT_EQ(client_.link->queued_bytes(), 0u);
}

TEST_P(TransportTest, SentMaySendAgain) {
  connect();
  struct Chain {
    Link* link;
    int left;
    void next() {
      if (left-- > 0) link->send(test_frame(1, "x"), [this](std::error_code) { next(); });
    }
  } chain{client_.link.get(), 100};
  chain.next();
  ASSERT_TRUE(until([&] { return server_.frames.size() == 100; }));
}

TEST_P(TransportTest, AFrameAboveTheLimitIsRefusedAndTheLinkLives) {
  connect();
  SentCounter sent;
  client_.link->send(test_frame(1, std::string(FrameLimits().max_front_bytes + 1, 'x')),
                     sent.add());
  client_.link->send(test_frame(2, "good"), sent.add());
  ASSERT_TRUE(until([&] { return server_.frames.size() == 1 && sent.total() == 2; }));
  EXPECT_EQ(sent.results[0], MsgrErrc::kTooLong);
  EXPECT_FALSE(sent.results[1]);
  EXPECT_EQ(as_text(server_.frames[0].front), "good");
}

TEST_P(TransportTest, AnAbandonedPayloadTouchesItsMemoryNoMore) {
  connect();
  const std::string data = test_pattern(16 * kMiB, 5);
  std::vector<std::byte> memory(data.size());
  bool abandoned = false;
  server_.place = [&](const FrameHeader&) {
    center_->post([&] {
      server_.link->abandon_payload(999);  // another tid: no effect
      server_.link->abandon_payload(5);
      std::fill(memory.begin(), memory.end(), std::byte{0});
      abandoned = true;
    });
    return Bytes(memory);
  };
  client_.link->send(test_frame(5, "", data), {});
  client_.link->send(test_frame(6, "next"), {});
  ASSERT_TRUE(until([&] { return !server_.frames.empty(); }));
  EXPECT_TRUE(abandoned);
  EXPECT_EQ(server_.frames.size(), 1u);
  EXPECT_EQ(server_.frames[0].header.tid.value(), 6u);
  EXPECT_TRUE(
      std::all_of(memory.begin(), memory.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST_P(TransportTest, APausedLinkHoldsThePeerBack) {
  connect();
  const std::string data = test_pattern(kMiB, 6);
  server_.link->pause_reading();
  SentCounter sent;
  constexpr std::size_t kFrames = 48;
  for (uint64_t i = 0; i < kFrames; ++i) {
    client_.link->send(test_frame(i, "", data), sent.add());
  }
  while (center_->run_until_idle() > 0) {
  }
  EXPECT_LT(sent.total(), kFrames);
  EXPECT_GT(client_.link->queued_bytes(), 0u);
  EXPECT_TRUE(server_.frames.empty());
  std::size_t arrived = 0;
  server_.also_on_frame = [&](ReceivedFrame& frame) {
    EXPECT_EQ(frame.header.tid.value(), arrived++);
    server_.frames.clear();
  };
  server_.link->resume_reading();
  ASSERT_TRUE(until([&] { return arrived == kFrames; }));
  EXPECT_TRUE(sent.each_once());
}

TEST_P(TransportTest, PausingInsideOnFrameStopsDeliveryAtOnce) {
  connect();
  server_.also_on_frame = [&](ReceivedFrame&) { server_.link->pause_reading(); };
  for (uint64_t i = 0; i < 10; ++i) client_.link->send(test_frame(i, "x"), {});
  for (std::size_t i = 1; i <= 10; ++i) {
    ASSERT_TRUE(until([&] { return server_.frames.size() >= i; }));
    center_->run_until_idle();
    EXPECT_EQ(server_.frames.size(), i);
    server_.link->resume_reading();
  }
}

TEST_P(TransportTest, AUsedUpPoolHoldsThePeerBackUntilMemoryIsReturned) {
  stack_ = GetParam().make(kMiB);
  connect();
  const std::string data = test_pattern(kMiB / 2, 7);
  for (uint64_t i = 0; i < 6; ++i) client_.link->send(test_frame(i, "", data), {});
  ASSERT_TRUE(until([&] { return server_.link->counters().memory_stalls == 1; }));
  EXPECT_EQ(server_.frames.size(), 2u);
  for (uint64_t total = 2; total < 6; ++total) {
    server_.frames.erase(server_.frames.begin());
    ASSERT_TRUE(until([&] { return server_.frames.size() == 2; }));
    EXPECT_EQ(server_.frames.back().header.tid.value(), total);
    EXPECT_TRUE(as_text(server_.frames.back().data) == data);
  }
  server_.frames.clear();
}

TEST_P(TransportTest, AnOrderlyCloseReachesThePeerAfterAllFrames) {
  connect();
  SentCounter sent;
  for (uint64_t i = 0; i < 50; ++i) client_.link->send(test_frame(i, "x"), sent.add());
  ASSERT_TRUE(until([&] { return sent.total() == 50; }));
  bool closed = false;
  client_.link->close([&] { closed = true; });
  EXPECT_FALSE(closed) << "closed runs later";
  ASSERT_TRUE(until([&] { return closed && server_.closed; }));
  EXPECT_EQ(server_.frames.size(), 50u);
  EXPECT_TRUE(*server_.closed);
  EXPECT_FALSE(client_.closed) << "no handler is called after one's own close()";
}

TEST_P(TransportTest, APeerThatClosesMidFrameLosesTheFrame) {
  connect();
  const std::string data = test_pattern(16 * kMiB, 8);
  std::vector<std::byte> memory(data.size());
  server_.place = [&](const FrameHeader&) { return Bytes(memory); };
  SentCounter sent;
  client_.link->send(test_frame(1, "whole"), sent.add());
  client_.link->send(test_frame(2, "", data), sent.add());
  // Stop reading in the middle, so that the rest has not been sent when the peer closes.
  ASSERT_TRUE(until([&] { return server_.placements == 1; }));
  bool closed = false;
  client_.link->close([&] {
    EXPECT_EQ(sent.total(), 2u) << "closed runs after every sent";
    closed = true;
  });
  ASSERT_TRUE(until([&] { return closed && server_.closed; }));
  EXPECT_TRUE(*server_.closed);
  ASSERT_EQ(server_.frames.size(), 1u);
  EXPECT_EQ(server_.frames[0].header.tid.value(), 1u);
  EXPECT_TRUE(sent.each_once());
  EXPECT_EQ(sent.results[1], MsgrErrc::kClosed);
}

TEST_P(TransportTest, CloseWithSendsPendingEndsEachOnceWithAnError) {
  connect();
  SentCounter sent;
  const std::string data = test_pattern(kMiB, 9);
  for (uint64_t i = 0; i < 30; ++i) client_.link->send(test_frame(i, "", data), sent.add());
  bool closed = false;
  client_.link->close([&] { closed = true; });
  client_.link->send(test_frame(31, "too late"), sent.add());
  EXPECT_EQ(sent.total(), 0u);
  ASSERT_TRUE(until([&] { return closed && sent.total() == 31; }));
  EXPECT_TRUE(sent.each_once());
  for (const auto& result : sent.results) EXPECT_EQ(result, MsgrErrc::kClosed);
  EXPECT_EQ(client_.link->queued_bytes(), 0u);
}

TEST_P(TransportTest, ALostLinkEndsSendsThenTellsItsHandlerWhichMayDestroyIt) {
  connect();
  SentCounter sent;
  const std::string data = test_pattern(kMiB, 10);
  server_.link->pause_reading();
  for (uint64_t i = 0; i < 40; ++i) client_.link->send(test_frame(i, "", data), sent.add());
  std::size_t sent_when_closed = 0;
  client_.also_on_closed = [&] {
    sent_when_closed = sent.total();
    client_.link.reset();
  };
  center_->run_until_idle();
  close_all(*center_, {&server_});
  ASSERT_TRUE(until([&] { return client_.closed.has_value(); }));
  EXPECT_EQ(sent_when_closed, 40u);
  EXPECT_TRUE(sent.each_once());
  EXPECT_TRUE(sent.results.back());
  EXPECT_TRUE(*client_.closed);
}

TEST_P(TransportTest, APausedLinkHearsOfALostPeerWhenItReadsAgain) {
  connect();
  server_.link->pause_reading();
  close_all(*center_, {&client_});
  server_.link->resume_reading();
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
}

TEST_P(TransportTest, SendOnALostLinkEndsWithTheReason) {
  connect();
  close_all(*center_, {&server_});
  ASSERT_TRUE(until([&] { return client_.closed.has_value(); }));
  SentCounter sent;
  client_.link->send(test_frame(1, "x"), sent.add());
  EXPECT_EQ(sent.total(), 0u);
  ASSERT_TRUE(until([&] { return sent.total() == 1; }));
  EXPECT_EQ(sent.results[0], *client_.closed);
}

TEST_P(TransportTest, AHandlerMayHandTheLinkToAnotherFromOnFrame) {
  connect();
  TestPeer session;
  server_.also_on_frame = [&](ReceivedFrame&) { server_.link->set_handler(&session); };
  for (uint64_t i = 0; i < 10; ++i) client_.link->send(test_frame(i, "x"), {});
  ASSERT_TRUE(until([&] { return session.frames.size() == 9; }));
  EXPECT_EQ(server_.frames.size(), 1u);
  EXPECT_EQ(session.frames[0].header.tid.value(), 1u);
}

TEST_P(TransportTest, NothingIsDeliveredBeforeThereIsAHandler) {
  std::unique_ptr<Link> accepted;
  auto listener = stack_->listen(*center_, any_, [&](auto link) { accepted = std::move(link); });
  ASSERT_TRUE(listener);
  const auto pending = stack_->connect(*center_, (*listener)->local_address(), [&](auto link) {
    client_.attach(std::move(*link));
    client_.link->send(test_frame(1, "early"), {});
    client_.link->close([] {});
    client_.link->send(test_frame(2, "late"), {});
  });
  ASSERT_TRUE(until([&] { return accepted != nullptr; }));
  center_->run_until_idle();
  server_.attach(std::move(accepted));
  ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
}

TEST_P(TransportTest, ManyLinksAtOnce) {
  constexpr std::size_t kLinks = 60;
  std::vector<std::unique_ptr<TestPeer>> clients, servers;
  auto listener = stack_->listen(*center_, any_, [&](std::unique_ptr<Link> link) {
    servers.push_back(std::make_unique<TestPeer>());
    TestPeer& peer = *servers.back();
    peer.also_on_frame = [&peer](ReceivedFrame& frame) {
      peer.link->send(test_frame(frame.header.tid.value(), as_text(frame.front)), {});
    };
    peer.attach(std::move(link));
  });
  ASSERT_TRUE(listener);
  std::vector<std::unique_ptr<PendingConnect>> pending;
  for (std::size_t i = 0; i < kLinks; ++i) {
    pending.push_back(stack_->connect(
        *center_, (*listener)->local_address(), [&](Result<std::unique_ptr<Link>> link) {
          ASSERT_TRUE(link);
          clients.push_back(std::make_unique<TestPeer>());
          clients.back()->attach(std::move(*link));
          for (uint64_t tid = 0; tid < 20; ++tid) {
            clients.back()->link->send(test_frame(tid, std::to_string(tid)), {});
          }
        }));
  }
  ASSERT_TRUE(until([&] {
    return clients.size() == kLinks && std::all_of(clients.begin(), clients.end(), [](auto& peer) {
             return peer->frames.size() == 20;
           });
  }));
  for (auto& peer : clients) {
    for (uint64_t tid = 0; tid < 20; ++tid) {
      EXPECT_EQ(as_text(peer->frames[tid].front), std::to_string(tid));
    }
    close_all(*center_, {peer.get()});
  }
  for (auto& peer : servers) close_all(*center_, {peer.get()});
}

TEST_P(TransportTest, APortInUseIsASentenceWithAddressAndOption) {
  const auto first = stack_->listen(*center_, any_, [](auto) {});
  ASSERT_TRUE(first);
  const Address taken = (*first)->local_address();
  const auto second = stack_->listen(*center_, taken, [](auto) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, std::errc::address_in_use);
  EXPECT_NE(second.error().message.find(taken.to_string()), std::string::npos);
  EXPECT_NE(second.error().message.find("public_addr"), std::string::npos);
}

TEST_P(TransportTest, AClosedListenerFreesItsPort) {
  auto first = stack_->listen(*center_, any_, [](auto) {});
  ASSERT_TRUE(first);
  const Address address = (*first)->local_address();
  first->reset();
  EXPECT_TRUE(stack_->listen(*center_, address, [](auto) {}));
}

TEST_P(TransportTest, NobodyListeningIsConnectionRefused) {
  auto listener = stack_->listen(*center_, any_, [](auto) {});
  ASSERT_TRUE(listener);
  const Address address = (*listener)->local_address();
  listener->reset();
  std::optional<std::error_code> result;
  const auto pending = stack_->connect(*center_, address, [&](Result<std::unique_ptr<Link>> link) {
    ASSERT_FALSE(link);
    result = link.error();
  });
  EXPECT_FALSE(result);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_EQ(*result, std::errc::connection_refused);
}

TEST_P(TransportTest, ACancelledConnectSaysNothing) {
  int accepted = 0;
  auto listener = stack_->listen(*center_, any_, [&](auto) { ++accepted; });
  ASSERT_TRUE(listener);
  auto pending = stack_->connect(*center_, (*listener)->local_address(),
                                 [](auto) { FAIL() << "was cancelled"; });
  pending.reset();
  // When a second one has come, the first would have come too.
  bool connected = false;
  pending = stack_->connect(*center_, (*listener)->local_address(), [&](auto link) {
    EXPECT_TRUE(link);
    connected = true;
  });
  ASSERT_TRUE(until([&] { return connected; }));
}

TEST_P(TransportTest, AConnectMayBeDestroyedByItsOwnDone) {
  auto listener = stack_->listen(*center_, any_, [](auto) {});
  ASSERT_TRUE(listener);
  std::unique_ptr<PendingConnect> pending;
  bool called = false;
  pending = stack_->connect(*center_, (*listener)->local_address(), [&](auto) {
    called = true;
    pending.reset();
  });
  ASSERT_TRUE(until([&] { return called; }));
}

TEST_P(TransportTest, AListenerMayBeDestroyedByItsOwnCallback) {
  Outcome<std::unique_ptr<Listener>> listener;
  bool accepted = false;
  listener = stack_->listen(*center_, any_, [&](auto) {
    accepted = true;
    listener->reset();
  });
  ASSERT_TRUE(listener);
  const auto pending = stack_->connect(*center_, (*listener)->local_address(), [](auto) {});
  ASSERT_TRUE(until([&] { return accepted; }));
}

TEST_P(TransportTest, DestroyingALinkWithoutCloseEndsItsSendsToo) {
  connect();
  SentCounter sent;
  client_.link->send(test_frame(1, "x"), sent.add());
  client_.link.reset();
  EXPECT_EQ(sent.total(), 0u);
  ASSERT_TRUE(until([&] { return sent.total() == 1; }));
  EXPECT_EQ(sent.results[0], MsgrErrc::kClosed);
}

// The ends on two threads, each with a loop of its own.
TEST_P(TransportTest, LinksBetweenTwoLoopsPlayPingPong) {
  auto worker = std::move(*WorkerThread::start({}));
  EventCenter& far = worker->center();
  std::promise<Address> listening;
  std::unique_ptr<Listener> listener;
  far.post([&] {
    listener = std::move(*stack_->listen(far, any_, [&](std::unique_ptr<Link> link) {
      server_.attach(std::move(link));
      server_.also_on_frame = [&](ReceivedFrame& frame) {
        server_.link->send(test_frame(frame.header.tid.value(), as_text(frame.data)), {});
        server_.frames.clear();
      };
    }));
    listening.set_value(listener->local_address());
  });
  const Address address = listening.get_future().get();
  const auto pending =
      stack_->connect(*center_, address, [&](auto link) { client_.attach(std::move(*link)); });
  const std::string data = test_pattern(3000, 12);
  ASSERT_TRUE(until([&] { return client_.link != nullptr; }));
  for (uint64_t i = 1; i <= 200; ++i) {
    client_.link->send(test_frame(i, "", data), {});
    ASSERT_TRUE(until([&] { return client_.frames.size() == i; }));
    ASSERT_EQ(as_text(client_.frames.back().front), data);
  }
  close_all(*center_, {&client_});
  std::promise<void> torn_down;
  far.post([&] {
    listener.reset();
    if (!server_.link) return torn_down.set_value();
    server_.link->close([&] {
      server_.link.reset();
      torn_down.set_value();
    });
  });
  torn_down.get_future().wait();
  worker->stop();
}

INSTANTIATE_TEST_SUITE_P(All, TransportTest, testing::ValuesIn(transports_under_test()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace lunar::msgr
