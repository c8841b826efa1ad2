// SPDX-License-Identifier: LGPL-2.1-or-later
// FastTransport and FastConnection with a tgt that is made up: a PDU is a byte of length and that
// many bytes, and may ask for an answer.
#include "bstore_plugin/tcp/fast_transport.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/bstore_plugin/tcp/socket_pair.h"

namespace lunar::bstore_plugin {
namespace {

using Wanted = FastConnection::Wanted;

class FakeLoop : public TgtLoop {
 public:
  void schedule_turn() override { has_turn = true; }
  void schedule_tick() override { has_tick = true; }
  bool has_turn = false;
  bool has_tick = false;
};

struct Answer {
  std::string header;
  CommandBuffers::Buffer* data = nullptr;  // released once "sent"
  std::size_t data_bytes = 0;
  bool is_last = false;  // the connection is closed behind it
};

// What a test sees of tgt's connection; outlives it.
struct Log {
  std::vector<std::string> pdus;
  std::deque<Answer> answers;
  int closes = 0;
  int watched = EPOLLIN;
  int receives = 0;
  int sends = 0;
  TgtConnection::Phase phase = TgtConnection::Phase::kFull;
  FastConnection* connection = nullptr;
  std::function<void(const std::string&)> on_pdu;
};

class FakeTgt : public TgtConnection {
 public:
  FakeTgt(FastTransport& transport, Log& log) : transport_(transport), log_(log) {}

  void receive() override {
    ++log_.receives;
    EXPECT_NE(log_.phase, Phase::kClosing);
    std::string room(wanted_, '\0');
    const long got = log_.connection->read(room.data(), room.size());
    if (got < 0) {
      EXPECT_EQ(errno, EAGAIN);
      return;
    }
    if (got == 0) {
      log_.phase = Phase::kClosing;
      return;
    }
    pdu_.append(room, 0, static_cast<std::size_t>(got));
    wanted_ -= static_cast<std::size_t>(got);
    if (wanted_ > 0) return;
    if (!has_length_) {
      has_length_ = true;
      wanted_ = static_cast<unsigned char>(pdu_[0]);
      pdu_.clear();
      return;
    }
    has_length_ = false;
    wanted_ = 1;
    const std::string pdu = std::exchange(pdu_, "");
    log_.pdus.push_back(pdu);
    if (log_.on_pdu) log_.on_pdu(pdu);
  }
  void send() override {
    ++log_.sends;
    ASSERT_FALSE(log_.answers.empty());
    const Answer answer = log_.answers.front();
    log_.answers.pop_front();
    if (!answer.header.empty()) {
      log_.connection->write(answer.header.data(), answer.header.size(), nullptr);
    }
    if (answer.data != nullptr) {
      log_.connection->write(answer.data->begin, answer.data_bytes, answer.data);
      transport_.buffers().release(*answer.data);
    }
    if (answer.is_last) log_.phase = Phase::kClosing;
  }
  Phase phase() const override { return log_.phase; }
  bool has_output() const override { return !log_.answers.empty(); }
  void set_closing() override { log_.phase = Phase::kClosing; }
  void close() override {
    ++log_.closes;
    for (const Answer& answer : log_.answers) {
      if (answer.data != nullptr) transport_.buffers().release(*answer.data);
    }
    log_.answers.clear();
    transport_.forget(*log_.connection);
  }
  void watch(int events) override { log_.watched = events; }

 private:
  FastTransport& transport_;
  Log& log_;
  std::string pdu_;
  std::size_t wanted_ = 1;
  bool has_length_ = false;
};

class FastTransportTest : public testing::Test {
 protected:
  struct Initiator {
    test::SocketPair sockets;
    Log log;
  };

  std::unique_ptr<Initiator> connect(const std::string& host = "192.0.2.1") {
    auto made = std::make_unique<Initiator>();
    made->log.connection =
        &transport_.adopt(made->sockets.fd(), &made->log,
                          std::make_unique<FakeTgt>(transport_, made->log), Wanted::kInput, host);
    return made;
  }
  bool is_driven(const Initiator& initiator) const {
    return transport_.find(initiator.sockets.fd(), &initiator.log) != nullptr;
  }
  // One turn of tgtd's loop: what is scheduled, then what epoll reports.
  void turn(std::initializer_list<Initiator*> initiators) {
    if (std::exchange(loop_.has_turn, false)) transport_.turn();
    for (Initiator* const each : initiators) {
      if (!is_driven(*each)) continue;
      pollfd entry{each->sockets.fd(), static_cast<short>(each->log.watched), 0};
      if (poll(&entry, 1, 0) > 0) each->log.connection->on_ready(entry.revents);
    }
  }
  // Until nothing is left to do; how many turns that took. Fails if it never ends.
  int settle(std::initializer_list<Initiator*> initiators) {
    for (int turns = 1; turns < 100000; ++turns) {
      turn(initiators);
      bool is_idle = !loop_.has_turn;
      for (Initiator* const each : initiators) {
        pollfd entry{each->sockets.fd(), static_cast<short>(each->log.watched), 0};
        is_idle = is_idle && !(is_driven(*each) && poll(&entry, 1, 0) > 0);
      }
      if (is_idle) return turns;
    }
    ADD_FAILURE() << "it spins";
    return 0;
  }
  static std::string pdu(const std::string& text) {
    return std::string(1, static_cast<char>(text.size())) + text;
  }
  Answer answer_of(Initiator& initiator, const std::string& header, std::size_t bytes) {
    Answer answer{.header = header};
    answer.data = transport_.buffers().allocate(bytes, &initiator.log.connection->reads());
    answer.data_bytes = bytes;
    std::memset(answer.data->begin, 'd', bytes);
    return answer;
  }
  void answer_each_with(Initiator& initiator, std::size_t bytes) {
    initiator.log.on_pdu = [this, &initiator, bytes](const std::string&) {
      initiator.log.answers.push_back(answer_of(initiator, "h", bytes));
      initiator.log.connection->set_wanted(Wanted::kBoth);
    };
  }

  FakeLoop loop_;
  PerfRegistry perf_;
  FastTransport transport_{loop_, perf_, 64u << 20};
  const FastCounters& counters_ = transport_.counters();
};

TEST_F(FastTransportTest, HandlesABurstInOneTurnWithOneCallEachWay) {
  auto a = connect();
  turn({});
  answer_each_with(*a, 2000);
  std::string burst, expected;
  for (int i = 0; i < 32; ++i) {
    burst += pdu("command " + std::to_string(i));
    expected += "h" + std::string(2000, 'd');
  }
  a->sockets.peer_sends(burst);
  settle({a.get()});
  EXPECT_EQ(a->log.pdus.size(), 32u);
  EXPECT_EQ(a->log.pdus.back(), "command 31");
  EXPECT_EQ(a->sockets.peer_receives(), expected);
  EXPECT_EQ(counters_.receives.value(), 1u);
  EXPECT_EQ(counters_.sends.value(), 1u);
  EXPECT_EQ(a->log.connection->reads().buffers, 0u);
}

TEST_F(FastTransportTest, PutsPdusTogetherFromSingleBytes) {
  auto a = connect();
  for (const char c : pdu("one") + pdu("two")) {
    a->sockets.peer_sends(std::string(1, c));
    settle({a.get()});
  }
  EXPECT_EQ(a->log.pdus, (std::vector<std::string>{"one", "two"}));
}

TEST_F(FastTransportTest, DoesNothingWhileThereIsNothingToDo) {
  auto a = connect();
  settle({a.get()});
  const int receives = a->log.receives;
  EXPECT_FALSE(loop_.has_turn);
  turn({a.get()});
  EXPECT_EQ(a->log.receives, receives);
  EXPECT_EQ(counters_.receives.value(), 0u);
  EXPECT_EQ(counters_.sends.value(), 0u);
}

TEST_F(FastTransportTest, OneConnectionHoldsNoOtherUp) {
  auto busy = connect();
  auto other = connect();
  turn({});
  std::string flood;
  while (flood.size() < 60000) flood += pdu("x");
  busy->sockets.peer_sends(flood);
  other->sockets.peer_sends(pdu("me too"));
  turn({busy.get(), other.get()});
  EXPECT_EQ(other->log.pdus.size(), 1u);
  EXPECT_LE(busy->log.receives, FastConnection::kTurnSteps);
  settle({busy.get(), other.get()});
  EXPECT_EQ(busy->log.pdus.size(), flood.size() / 2);
}

TEST_F(FastTransportTest, CollectsNoMoreThanItsBoundForAnInitiatorThatDoesNotRead) {
  auto stalled = connect();
  auto other = connect();
  turn({});
  std::string burst;
  for (int i = 0; i < 100; ++i) burst += pdu("read");
  answer_each_with(*stalled, 100000);
  answer_each_with(*other, 10);
  stalled->sockets.peer_sends(burst);
  settle({stalled.get(), other.get()});
  EXPECT_GT(counters_.blocked.value(), 0u);
  EXPECT_EQ(stalled->log.watched & EPOLLOUT, EPOLLOUT);
  // Some answers are collected, the others are still tgt's.
  EXPECT_GT(stalled->log.answers.size(), 80u);
  const int sends = stalled->log.sends;
  other->sockets.peer_sends(pdu("hello"));
  settle({stalled.get(), other.get()});
  EXPECT_EQ(other->sockets.peer_receives(), "h" + std::string(10, 'd'));
  EXPECT_EQ(stalled->log.sends, sends);
  // Once it reads, it gets all.
  std::string received;
  while (received.size() < 100 * 100001) {
    const std::string some = stalled->sockets.peer_receives();
    ASSERT_FALSE(some.empty());
    received += some;
    settle({stalled.get(), other.get()});
  }
  EXPECT_EQ(stalled->log.watched, EPOLLIN);
  EXPECT_EQ(stalled->log.connection->reads().buffers, 0u);
}

TEST_F(FastTransportTest, DoesNotReadFromAnInitiatorWhoseAnswersHoldTooMuch) {
  auto a = connect();
  turn({});
  answer_each_with(*a, 1 << 20);
  constexpr std::size_t kCommands = 200;  // 200 MiB
  std::string burst;
  for (std::size_t i = 0; i < kCommands; ++i) burst += pdu("read");
  a->sockets.peer_sends(burst);
  settle({a.get()});
  EXPECT_LE(a->log.connection->reads().bytes, FastConnection::kMaxHeldBytes + (4u << 20));
  EXPECT_LT(a->log.pdus.size(), kCommands);
  EXPECT_EQ(a->log.watched, EPOLLOUT);
  EXPECT_EQ(counters_.paused.value(), 1u);
  std::size_t received = 0;
  while (received < kCommands * ((1 << 20) + 1)) {
    const std::size_t some = a->sockets.peer_receives().size();
    ASSERT_GT(some, 0u);
    received += some;
    settle({a.get()});
  }
  EXPECT_EQ(a->log.pdus.size(), kCommands);
  EXPECT_EQ(a->log.watched, EPOLLIN);
}

TEST_F(FastTransportTest, DoesNotReadFromAnInitiatorWhoseReadsInTheStoreHoldTooMuch) {
  auto a = connect();
  turn({});
  std::vector<CommandBuffers::Buffer*> in_store;
  a->log.on_pdu = [&](const std::string&) {
    in_store.push_back(transport_.buffers().allocate(4 << 20, &a->log.connection->reads()));
  };
  std::string burst;
  for (int i = 0; i < 100; ++i) burst += pdu("read");
  a->sockets.peer_sends(burst);
  settle({a.get()});
  EXPECT_EQ(in_store.size(), FastConnection::kMaxReadBytes / (4 << 20) + 1);
  EXPECT_EQ(a->log.watched, 0);
  std::size_t answered = 0;
  while (answered < 100) {
    ASSERT_LT(answered, in_store.size());
    a->log.answers.push_back({.header = "h", .data = in_store[answered++], .data_bytes = 10});
    a->log.connection->set_wanted(Wanted::kBoth);
    settle({a.get()});
  }
  EXPECT_EQ(a->log.pdus.size(), 100u);
  EXPECT_EQ(a->log.watched, EPOLLIN);
}

TEST_F(FastTransportTest, ReadsTheDataThatManyWritesWaitFor) {
  auto a = connect();
  turn({});
  std::vector<CommandBuffers::Buffer*> waiting;
  a->log.on_pdu = [&](const std::string&) {
    waiting.push_back(transport_.buffers().allocate(4 << 20, &a->log.connection->writes()));
  };
  std::string burst;
  for (int i = 0; i < 100; ++i) burst += pdu("write");
  a->sockets.peer_sends(burst);
  settle({a.get()});
  EXPECT_EQ(waiting.size(), 100u);
  for (CommandBuffers::Buffer* const buffer : waiting) transport_.buffers().release(*buffer);
}

TEST_F(FastTransportTest, NoHostsWritesHoldMoreThanHalfOfAllHoweverManyConnectionsItHas) {
  constexpr std::size_t kBytes = 4u << 20;
  std::vector<std::unique_ptr<Initiator>> greedy;
  std::vector<CommandBuffers::Buffer*> held;
  const auto hold_all = [&](Initiator& initiator) {
    FastConnection& connection = *initiator.log.connection;
    int count = 0;
    for (; connection.may_hold_for_write(kBytes) && count < 100; ++count)
      held.push_back(transport_.buffers().allocate(kBytes, &connection.writes()));
    return count;
  };
  int count = 0;
  for (int i = 0; i < 10; ++i) count += hold_all(*greedy.emplace_back(connect()));
  EXPECT_EQ(count, 8) << "32 MiB of 64";
  const auto other = connect("192.0.2.2");
  EXPECT_EQ(hold_all(*other), 3) << "there is room for whoever comes";
  EXPECT_TRUE(greedy[5]->log.connection->may_hold_for_write(FastTransport::kSmallWrites));
  for (CommandBuffers::Buffer* const buffer : held) transport_.buffers().release(*buffer);
  held.clear();
  EXPECT_EQ(hold_all(*greedy[5]), 6) << "what ends gives it back";
  for (CommandBuffers::Buffer* const buffer : held) transport_.buffers().release(*buffer);
}

TEST_F(FastTransportTest, DoesNotReadFromABlockedInitiatorWithTooManyTasks) {
  auto a = connect();
  turn({});
  a->log.answers.push_back(answer_of(*a, "h", 4 << 20));
  a->log.connection->set_wanted(Wanted::kBoth);
  settle({a.get()});
  for (std::size_t i = 0; i <= FastConnection::kMaxTasks; ++i) a->log.connection->add_task();
  a->sockets.peer_sends(pdu("more"));
  settle({a.get()});
  EXPECT_EQ(a->log.pdus.size(), 0u);
  EXPECT_EQ(a->log.watched, EPOLLOUT);
  a->log.connection->remove_task();
  a->log.connection->set_wanted(Wanted::kBoth);
  settle({a.get()});
  EXPECT_EQ(a->log.pdus.size(), 1u);
}

TEST_F(FastTransportTest, ClosesWhenThePeerHasClosedInMidPdu) {
  auto a = connect();
  a->sockets.peer_sends(pdu("whole") + "\x09part");
  a->sockets.close_peer();
  settle({a.get()});
  EXPECT_EQ(a->log.pdus, std::vector<std::string>{"whole"});
  EXPECT_EQ(a->log.closes, 1);
  EXPECT_FALSE(is_driven(*a));
  EXPECT_EQ(counters_.connections.value(), 0u);
}

TEST_F(FastTransportTest, ClosesWithOutputCollected) {
  auto a = connect();
  turn({});
  answer_each_with(*a, 1 << 20);
  for (int i = 0; i < 8; ++i) a->sockets.peer_sends(pdu("read"));
  settle({a.get()});
  EXPECT_GT(a->log.connection->reads().buffers, 0u);
  BufferOwner& owner = a->log.connection->reads();  // lives until the next turn
  a->sockets.close_peer();
  turn({a.get()});
  EXPECT_EQ(a->log.closes, 1);
  EXPECT_EQ(owner.buffers, 0u);
}

TEST_F(FastTransportTest, KeepsWhatIsChargedUntilTheLastBufferIsBack) {
  auto a = connect();
  CommandBuffers::Buffer* const running =
      transport_.buffers().allocate(4096, &a->log.connection->reads());
  a->sockets.close_peer();
  settle({a.get()});
  EXPECT_FALSE(is_driven(*a));
  transport_.turn();
  transport_.buffers().release(*running);  // its command ends after the connection
  transport_.turn();
}

TEST_F(FastTransportTest, SendsTheLastAnswerBeforeItCloses) {
  auto a = connect();
  turn({});
  a->log.on_pdu = [&](const std::string&) {
    a->log.answers.push_back({.header = "bye", .is_last = true});
    a->log.connection->set_wanted(Wanted::kOutput);
  };
  a->sockets.peer_sends(pdu("logout"));
  settle({a.get()});
  EXPECT_EQ(a->log.closes, 1);
  EXPECT_EQ(a->sockets.peer_receives(), "bye");
}

TEST_F(FastTransportTest, KeepsAClosedConnectionUntilTheLastAnswerIsSent) {
  auto a = connect();
  turn({});
  a->log.on_pdu = [&](const std::string&) {
    a->log.answers.push_back(answer_of(*a, "h", 4 << 20));
    a->log.answers.push_back({.header = "bye", .is_last = true});
    a->log.connection->set_wanted(Wanted::kOutput);
  };
  a->sockets.peer_sends(pdu("logout"));
  settle({a.get()});
  EXPECT_EQ(a->log.closes, 0);
  std::string received;
  while (a->log.closes == 0) {
    const std::string some = a->sockets.peer_receives();
    ASSERT_FALSE(some.empty());
    received += some;
    settle({a.get()});
  }
  received += a->sockets.peer_receives();
  EXPECT_EQ(received.size(), 1u + (4 << 20) + 3);
  EXPECT_EQ(received.substr(received.size() - 3), "bye");
}

TEST_F(FastTransportTest, KeepsAClosedConnectionForSecondsOnly) {
  auto a = connect();
  turn({});
  a->log.answers.push_back(answer_of(*a, "h", 4 << 20));
  a->log.answers.push_back({.header = "bye", .is_last = true});
  a->log.connection->set_wanted(Wanted::kOutput);
  settle({a.get()});
  // The last answer is not tgt's any more once there is room to collect it.
  a->sockets.peer_receives(4 << 19);
  settle({a.get()});
  while (a->log.phase != TgtConnection::Phase::kClosing) {
    a->sockets.peer_receives(1 << 16);
    settle({a.get()});
  }
  for (int i = 0; i < FastTransport::kGraceTicks; ++i) {
    EXPECT_EQ(a->log.closes, 0);
    if (!std::exchange(loop_.has_tick, false)) break;
    transport_.tick();
  }
  EXPECT_EQ(a->log.closes, 1);
  EXPECT_FALSE(loop_.has_tick);
}

TEST_F(FastTransportTest, ReadsNothingThatTgtDoesNotWaitFor) {
  auto a = connect();
  turn({});
  a->log.phase = TgtConnection::Phase::kNegotiating;
  a->log.on_pdu = [&](const std::string&) { a->log.connection->set_wanted(Wanted::kNothing); };
  a->sockets.peer_sends(pdu("login") + pdu("early"));
  settle({a.get()});
  EXPECT_EQ(a->log.pdus.size(), 1u);
  EXPECT_EQ(a->log.watched, 0);
  a->log.connection->set_wanted(Wanted::kInput);
  settle({a.get()});
  EXPECT_EQ(a->log.pdus.size(), 2u);
}

TEST_F(FastTransportTest, ClosesWhatTgtForcesToClose) {
  auto a = connect();
  settle({a.get()});
  a->log.phase = TgtConnection::Phase::kClosing;
  a->log.connection->set_wanted(Wanted::kBoth);
  settle({a.get()});
  EXPECT_EQ(a->log.closes, 1);
  EXPECT_EQ(a->log.receives, 0);
}

TEST_F(FastTransportTest, ClosesABrokenConnectionThatItDoesNotReadFrom) {
  auto a = connect();
  turn({});
  a->log.phase = TgtConnection::Phase::kNegotiating;
  a->log.connection->set_wanted(Wanted::kNothing);
  settle({a.get()});
  EXPECT_EQ(a->log.watched, 0);
  a->sockets.close_peer();
  settle({a.get()});
  EXPECT_EQ(a->log.closes, 1);
}

TEST_F(FastTransportTest, AConnectionMayCloseAnother) {
  auto a = connect();
  auto b = connect();
  turn({});
  a->log.on_pdu = [&](const std::string&) {
    ++b->log.closes;
    transport_.forget(*b->log.connection);
  };
  b->log.connection->set_wanted(Wanted::kBoth);
  a->sockets.peer_sends(pdu("reinstate"));
  b->sockets.peer_sends(pdu("never read"));
  settle({a.get(), b.get()});
  EXPECT_FALSE(is_driven(*b));
  EXPECT_TRUE(b->log.pdus.empty());
}

TEST_F(FastTransportTest, WritesFailOnceForgotten) {
  auto a = connect();
  transport_.forget(*a->log.connection);
  EXPECT_EQ(a->log.connection->write("x", 1, nullptr), -1);
  EXPECT_EQ(errno, EPIPE);
}

TEST_F(FastTransportTest, KnowsAConnectionByItsHandleToo) {
  auto a = connect();
  int other = 0;
  EXPECT_NE(transport_.find(a->sockets.fd(), &a->log), nullptr);
  EXPECT_EQ(transport_.find(a->sockets.fd(), &other), nullptr);
  EXPECT_EQ(transport_.find(-1, &a->log), nullptr);
  EXPECT_EQ(transport_.find(100000, &a->log), nullptr);
}

}  // namespace
}  // namespace lunar::bstore_plugin
