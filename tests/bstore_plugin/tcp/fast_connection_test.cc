// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One connection, by what tgt, the loop and the socket see of it. How several of them get along,
// and what a stalled initiator costs, is fast_transport_test.cc.
#include "bstore_plugin/tcp/fast_connection.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/bstore_plugin/tcp/socket_pair.h"

namespace lunar::bstore_plugin {
namespace {

using Phase = TgtConnection::Phase;
using Wanted = FastConnection::Wanted;

class FakeHost final : public FastConnectionHost {
 public:
  void schedule(FastConnection&) override { ++schedules; }
  void start_grace(FastConnection&) override { ++graces; }
  int schedules = 0;
  int graces = 0;
};

// Does what the test says, and counts what it is called for.
class ScriptedTgt final : public TgtConnection {
 public:
  void receive() override {
    ++receives;
    if (on_receive) on_receive();
  }
  void send() override {
    ++sends;
    if (on_send) on_send();
  }
  Phase phase() const override {
    EXPECT_FALSE(connection->is_forgotten()) << "it is not called again";
    return phase_now;
  }
  bool has_output() const override {
    EXPECT_EQ(phase_now, Phase::kFull);
    return wants_to_send;
  }
  void set_closing() override { phase_now = Phase::kClosing; }
  void close() override {
    ++closes;
    connection->forget();
  }
  void watch(int events) override {
    ++watches;
    watched = events;
  }

  FastConnection* connection = nullptr;
  std::function<void()> on_receive;
  std::function<void()> on_send;
  Phase phase_now = Phase::kFull;
  bool wants_to_send = false;
  int receives = 0;
  int sends = 0;
  int closes = 0;
  int watches = 0;
  int watched = EPOLLIN;
};

class FastConnectionTest : public ::testing::Test {
 protected:
  FastConnectionTest() { tgt_.connection = &connection_; }
  ~FastConnectionTest() override { connection_.forget(); }

  std::string read(std::size_t bytes) {
    std::string room(bytes, '\0');
    const long got = connection_.read(room.data(), bytes);
    return got < 0 ? "none" : room.substr(0, static_cast<std::size_t>(got));
  }
  long write(const std::string& text) {
    return connection_.write(text.data(), text.size(), nullptr);
  }
  CommandBuffers::Buffer& allocate(std::size_t bytes, char filled) {
    CommandBuffers::Buffer* const buffer = buffers_.allocate(bytes, &connection_.reads());
    std::memset(buffer->begin, filled, bytes);
    return *buffer;
  }
  // Until the socket takes no more.
  void block() {
    write(std::string(4 << 20, 'b'));
    connection_.turn();
    ASSERT_EQ(tgt_.watched & EPOLLOUT, EPOLLOUT);
  }

  test::SocketPair sockets_;
  ScriptedTgt tgt_;
  FakeHost host_;
  CommandBuffers buffers_;
  ReadAheadBlocks blocks_;
  PerfRegistry perf_;
  FastCounters counters_{perf_};
  FastConnection connection_{sockets_.fd(), tgt_,      host_,         buffers_,
                             blocks_,       counters_, Wanted::kInput};
};

// --- read ---

TEST_F(FastConnectionTest, ReadGivesWhatHasArrivedAndEagainBehindIt) {
  sockets_.peer_sends("abcde");
  EXPECT_EQ(read(3), "abc");
  EXPECT_EQ(read(3), "de");
  errno = 0;
  EXPECT_EQ(read(3), "none");
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(FastConnectionTest, ReadOfAConnectionThatThePeerHasClosedIsItsEnd) {
  sockets_.peer_sends("last");
  sockets_.close_peer();
  EXPECT_EQ(read(10), "last");
  connection_.on_ready(EPOLLIN);
  EXPECT_EQ(read(10), "");
}

TEST_F(FastConnectionTest, ReadOfABrokenConnectionIsItsEndToo) {
  write("never read");
  connection_.turn();
  sockets_.close_peer();  // with bytes unread: ECONNRESET
  EXPECT_EQ(read(10), "");
}

// --- write ---

TEST_F(FastConnectionTest, WriteTakesAllAndSendsItInTheTurn) {
  const std::string text(300'000, 'x');
  EXPECT_EQ(write(text), 300'000);
  EXPECT_EQ(write(""), 0);
  EXPECT_GT(host_.schedules, 0);
  EXPECT_EQ(sockets_.peer_receives(), "");
  connection_.turn();
  std::string received = sockets_.peer_receives();
  while (received.size() < text.size()) {
    connection_.on_ready(EPOLLOUT);
    connection_.turn();
    const std::string more = sockets_.peer_receives();
    ASSERT_FALSE(more.empty());
    received += more;
  }
  EXPECT_TRUE(received == text);
}

TEST_F(FastConnectionTest, WhatIsCopiedMayChangeAfterTheCall) {
  std::string header = "header";
  write(header);
  header = "xxxxxx";
  connection_.turn();
  EXPECT_EQ(sockets_.peer_receives(), "header");
}

TEST_F(FastConnectionTest, LargeStretchesOfADataBufferAreReferredToUntilTheyAreSent) {
  CommandBuffers::Buffer& buffer = allocate(8192, 'd');
  connection_.write(buffer.begin + 100, FastConnection::kSmallestReferred, &buffer);
  EXPECT_EQ(buffer.references, 2u);
  connection_.turn();
  EXPECT_EQ(buffer.references, 1u);
  EXPECT_EQ(sockets_.peer_receives(), std::string(FastConnection::kSmallestReferred, 'd'));
  buffers_.release(buffer);
}

TEST_F(FastConnectionTest, AStretchUpToTheEndOfADataBufferIsReferredTo) {
  CommandBuffers::Buffer& buffer = allocate(4096, 'd');
  connection_.write(buffer.begin + buffer.capacity - 2000, 2000, &buffer);
  EXPECT_EQ(buffer.references, 2u);
  buffers_.release(buffer);
}

TEST_F(FastConnectionTest, SmallStretchesAndWhatIsNotAllInTheBufferAreCopied) {
  std::string memory(3 * 8192, 'm');
  CommandBuffers::Buffer buffer{
      reinterpret_cast<std::byte*>(memory.data()) + 8192, 8192, 1, 0xff, false, nullptr};
  connection_.write(buffer.begin, FastConnection::kSmallestReferred - 1, &buffer);
  connection_.write(buffer.begin - 1, 4096, &buffer);
  connection_.write(buffer.begin + 8192 - 4095, 4096, &buffer);
  connection_.write(buffer.begin + 8193, 4096, &buffer);
  EXPECT_EQ(buffer.references, 1u);
  memory.assign(memory.size(), 'x');
  connection_.turn();
  EXPECT_EQ(sockets_.peer_receives(),
            std::string(FastConnection::kSmallestReferred - 1 + 3 * 4096, 'm'));
}

TEST_F(FastConnectionTest, WriteToABrokenConnectionIsEpipe) {
  sockets_.close_peer();
  write("lost");
  connection_.turn();
  EXPECT_EQ(tgt_.closes, 1);
  errno = 0;
  EXPECT_EQ(write("x"), -1);
  EXPECT_EQ(errno, EPIPE);
}

// --- when tgt is called ---

TEST_F(FastConnectionTest, SetWantedCallsTgtInTheTurnOnly) {
  sockets_.peer_sends("x");
  tgt_.wants_to_send = true;
  tgt_.on_send = [this] { tgt_.wants_to_send = false; };
  connection_.set_wanted(Wanted::kBoth);
  EXPECT_EQ(tgt_.receives + tgt_.sends, 0);
  EXPECT_EQ(host_.schedules, 1);
  connection_.turn();
  EXPECT_EQ(tgt_.sends, 1);
}

TEST_F(FastConnectionTest, WhatBecomesReadableIsReceivedAtOnceAndAnsweredInTheTurn) {
  sockets_.peer_sends("command");
  tgt_.on_receive = [this] {
    if (read(100) == "command") tgt_.wants_to_send = true;
  };
  tgt_.on_send = [this] {
    tgt_.wants_to_send = false;
    write("response");
  };
  connection_.on_ready(EPOLLIN);
  EXPECT_TRUE(tgt_.wants_to_send);
  EXPECT_EQ(tgt_.sends, 0);
  EXPECT_GT(host_.schedules, 0);
  connection_.turn();
  EXPECT_EQ(sockets_.peer_receives(), "response");
}

TEST_F(FastConnectionTest, WhileItNegotiatesTgtSendsWhenItAsksTo) {
  tgt_.phase_now = Phase::kNegotiating;
  tgt_.on_send = [this] { connection_.set_wanted(Wanted::kInput); };
  connection_.turn();
  EXPECT_EQ(tgt_.sends, 0);
  connection_.set_wanted(Wanted::kOutput);
  connection_.turn();
  EXPECT_EQ(tgt_.sends, 1);
}

TEST_F(FastConnectionTest, InFullFeaturePhaseTgtSendsWhatItHasWhateverItAsksFor) {
  connection_.set_wanted(Wanted::kBoth);
  connection_.turn();
  EXPECT_EQ(tgt_.sends, 0);
  tgt_.wants_to_send = true;
  tgt_.on_send = [this] { tgt_.wants_to_send = false; };
  connection_.set_wanted(Wanted::kInput);
  connection_.turn();
  EXPECT_EQ(tgt_.sends, 1);
}

TEST_F(FastConnectionTest, TgtMayCloseItInsideReceive) {
  sockets_.peer_sends("bad");
  tgt_.on_receive = [this] { connection_.forget(); };
  connection_.on_ready(EPOLLIN);
  EXPECT_EQ(tgt_.receives, 1);
  EXPECT_EQ(tgt_.closes, 0);
}

TEST_F(FastConnectionTest, TgtMayCloseItInsideSend) {
  tgt_.wants_to_send = true;
  tgt_.on_send = [this] { connection_.forget(); };
  connection_.turn();
  EXPECT_EQ(tgt_.sends, 1);
  EXPECT_EQ(tgt_.closes, 0);
}

// --- bounds of a turn ---

TEST_F(FastConnectionTest, AnInitiatorThatSendsWithoutEndIsReadFromABoundedAmount) {
  constexpr std::size_t kOnce = 50'000;
  std::size_t received = 0;
  tgt_.on_receive = [&] {
    const std::string some = read(kOnce);
    received += some.size();
    sockets_.peer_sends(some);
  };
  // Always more than a receive takes: what it asks for, and a block read ahead.
  sockets_.peer_sends(std::string(3 * kOnce, 'x'));
  connection_.on_ready(EPOLLIN);
  EXPECT_GE(received, FastConnection::kTurnBytes);
  EXPECT_LE(received, FastConnection::kTurnBytes + kOnce);
}

TEST_F(FastConnectionTest, WhatItsCommandsTakeInATurnIsBoundedToo) {
  std::vector<CommandBuffers::Buffer*> taken;
  tgt_.on_receive = [&] {
    read(1);
    taken.push_back(&allocate(256 << 10, 'd'));
  };
  sockets_.peer_sends(std::string(1000, 'c'));
  connection_.on_ready(EPOLLIN);
  EXPECT_EQ(taken.size(), FastConnection::kTurnBytes / (256 << 10));
  const int schedules = host_.schedules;
  connection_.turn();
  EXPECT_EQ(taken.size(), 2 * FastConnection::kTurnBytes / (256 << 10));
  EXPECT_GT(host_.schedules, schedules) << "there is more";
  for (CommandBuffers::Buffer* const buffer : taken) buffers_.release(*buffer);
}

TEST_F(FastConnectionTest, ATurnSendsABoundedAmountAndAsksForAnother) {
  constexpr std::size_t kPdu = 64 << 10;
  std::size_t sent = 0;
  tgt_.wants_to_send = true;
  tgt_.on_send = [&] {
    sockets_.peer_receives();
    write(std::string(kPdu, 'x'));
    sent += kPdu;
  };
  // What is collected for one call fits into the socket; any user may have as much.
  const int room = 200'000;
  ASSERT_EQ(setsockopt(sockets_.fd(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
  connection_.turn();
  EXPECT_GE(sent, FastConnection::kTurnBytes);
  EXPECT_LE(sent, FastConnection::kTurnBytes + FastConnection::kMaxCollected);
  EXPECT_GT(host_.schedules, 0);
}

TEST_F(FastConnectionTest, ATurnCallsSendSoManyTimesOnly) {
  tgt_.wants_to_send = true;
  connection_.turn();
  EXPECT_EQ(tgt_.sends, FastConnection::kTurnSteps);
  EXPECT_GT(host_.schedules, 0);
}

// --- what epoll is asked for ---

TEST_F(FastConnectionTest, EpollIsAskedOnChangesOnly) {
  connection_.turn();
  EXPECT_EQ(tgt_.watches, 0) << "EPOLLIN is what it begins with";
  connection_.set_wanted(Wanted::kNothing);
  connection_.turn();
  connection_.turn();
  EXPECT_EQ(tgt_.watches, 1);
  EXPECT_EQ(tgt_.watched, 0);
  EXPECT_EQ(counters_.paused.value(), 0u) << "tgt wants nothing";
  connection_.set_wanted(Wanted::kInput);
  connection_.turn();
  EXPECT_EQ(tgt_.watched, EPOLLIN);
}

TEST_F(FastConnectionTest, ABlockedSocketIsNotTriedAgainUntilItTakesBytes) {
  block();
  EXPECT_EQ(counters_.blocked.value(), 1u);
  const uint64_t calls = counters_.sends.value();
  connection_.turn();
  EXPECT_EQ(counters_.sends.value(), calls);
  sockets_.peer_receives();
  connection_.on_ready(EPOLLOUT);
  connection_.turn();
  EXPECT_GT(counters_.sends.value(), calls);
}

TEST_F(FastConnectionTest, TasksAreNotCountedBelowNone) {
  connection_.remove_task();
  block();
  EXPECT_EQ(tgt_.watched, EPOLLIN | EPOLLOUT) << "it is not paused";
  for (std::size_t i = 0; i < FastConnection::kMaxTasks; ++i) connection_.add_task();
  connection_.turn();
  EXPECT_EQ(tgt_.watched, EPOLLIN | EPOLLOUT);
  connection_.add_task();
  connection_.turn();
  EXPECT_EQ(tgt_.watched, EPOLLOUT);
  EXPECT_EQ(counters_.paused.value(), 1u);
}

// --- the end ---

TEST_F(FastConnectionTest, ForgettingItSendsWhatTheSocketTakesAndLetsGoOfTheRest) {
  CommandBuffers::Buffer& buffer = allocate(4 << 20, 'd');
  write("header");
  connection_.write(buffer.begin, 4 << 20, &buffer);
  connection_.forget();
  EXPECT_EQ(buffer.references, 1u);
  EXPECT_EQ(sockets_.peer_receives().substr(0, 7), "headerd");
  EXPECT_TRUE(connection_.has_buffers()) << "tgt has it yet";
  buffers_.release(buffer);
  EXPECT_FALSE(connection_.has_buffers());
  EXPECT_EQ(tgt_.closes, 0);
}

TEST_F(FastConnectionTest, AForgottenConnectionIsScheduledNoMore) {
  connection_.forget();
  connection_.set_wanted(Wanted::kBoth);
  write("x");
  EXPECT_EQ(host_.schedules, 0);
  connection_.forget();
}

TEST_F(FastConnectionTest, AnErrorIsHeardWhereNothingIsRead) {
  connection_.set_wanted(Wanted::kNothing);
  connection_.on_ready(EPOLLHUP);
  EXPECT_EQ(tgt_.closes, 1);
  EXPECT_EQ(tgt_.receives, 0);
}

TEST_F(FastConnectionTest, WhereInputIsReadAnErrorIsLeftToTgtsRead) {
  sockets_.peer_sends("last");
  sockets_.close_peer();
  std::string received;
  tgt_.on_receive = [&] {
    const std::string some = read(100);
    if (some.empty()) tgt_.phase_now = Phase::kClosing;
    if (some != "none") received += some;
  };
  connection_.on_ready(EPOLLIN | EPOLLHUP);
  EXPECT_EQ(received, "last");
  EXPECT_EQ(tgt_.closes, 0);
  connection_.on_ready(EPOLLIN | EPOLLHUP);
  EXPECT_EQ(tgt_.closes, 1);
}

TEST_F(FastConnectionTest, WhatIsLeftToSendAtTheEndHasGraceAndNothingIsReadMeanwhile) {
  tgt_.on_receive = [this] { read(100); };
  block();
  tgt_.wants_to_send = true;
  tgt_.on_send = [this] {
    write("bye");
    tgt_.wants_to_send = false;
    tgt_.phase_now = Phase::kClosing;
  };
  while (tgt_.sends == 0) {
    connection_.on_ready(EPOLLOUT);
    connection_.turn();
    if (tgt_.sends == 0) sockets_.peer_receives(1 << 18);
  }
  EXPECT_EQ(host_.graces, 1);
  EXPECT_EQ(tgt_.watched, EPOLLOUT);
  const int receives = tgt_.receives;
  sockets_.peer_sends("late");
  connection_.on_ready(EPOLLIN);
  connection_.turn();
  EXPECT_EQ(tgt_.receives, receives);
  EXPECT_EQ(tgt_.closes, 0);
  connection_.give_up();
  EXPECT_EQ(tgt_.closes, 1);
}

TEST_F(FastConnectionTest, GivingUpMeansNothingUnlessOnlyItsLastBytesAreLeft) {
  block();
  connection_.give_up();
  EXPECT_EQ(tgt_.closes, 0);
  EXPECT_EQ(tgt_.phase_now, Phase::kFull);
}

}  // namespace
}  // namespace lunar::bstore_plugin
