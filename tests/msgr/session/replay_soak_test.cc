// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>

#include "common/random.h"
#include "msgr/event/worker_thread.h"
#include "msgr/net/inject_stack.h"
#include "msgr/posix/posix_stack.h"
#include "tests/msgr/session/session_fixture.h"
#include "tests/support/messenger_options.h"

// Two messengers on threads of their own send each other thousands of numbered messages, some with
// data, over links that break at random, in the middle of a frame too. Each has to arrive once, in
// its order, undamaged.

namespace lunar::msgr {
namespace {

constexpr uint64_t kMessages = 3000;  // each way

std::string pattern(uint64_t tid, std::size_t bytes) {
  std::string data(bytes, 0);
  for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(tid * 31 + i * 7);
  return data;
}
std::size_t data_bytes_of(uint64_t tid) {
  if (tid % 97 == 0) return 200'000;
  return tid % 3 == 0 ? tid % 5000 : 0;
}

// Breaks links between and within frames. Thread-safe.
struct RandomCuts final : LoopbackInjector {
  explicit RandomCuts(uint64_t seed) : random(seeded_engine(seed)) {}
  Verdict on_send(const Address&, std::size_t bytes) override { return step(bytes); }
  Verdict on_receive(const Address&, std::size_t bytes) override { return step(bytes); }
  Verdict on_connect(const Address&) override {
    Verdict verdict;
    const std::scoped_lock lock(mutex);
    if (random() % 8 == 0) {
      verdict.fail = std::make_error_code(std::errc::connection_refused);
    }
    return verdict;
  }
  Verdict step(std::size_t bytes) {
    Verdict verdict;
    const std::scoped_lock lock(mutex);
    if (random() % 25 == 0) {
      ++cuts;
      verdict.limit = bytes == 0 ? 0 : random() % bytes;
      verdict.fail = make_error_code(MsgrErrc::kInjected);
    }
    return verdict;
  }
  std::mutex mutex;
  RandomEngine random;
  int cuts = 0;
};

// One side: a thread, its messenger, and what it has received. Touched on the thread, but for
// wait().
class Side final : public Dispatcher {
 public:
  Side(NetworkStack& stack, std::string entity) {
    thread_ = std::move(*WorkerThread::start({.name = entity, .busy_poll = {}}));
    on_thread([&] {
      MessengerOptions options = test::without_authentication();
      options.entity = entity;
      options.instance = "soak";
      options.initial_backoff = std::chrono::milliseconds(1);
      options.max_backoff = std::chrono::milliseconds(5);
      options.keepalive_interval = std::chrono::milliseconds(20);
      messenger_ =
          std::move(*Messenger::create(thread_->center(), stack, options, nullptr, nullptr, this));
    });
  }
  ~Side() override {
    std::promise<void> done;
    thread_->center().post([&] { messenger_->shutdown([&done] { done.set_value(); }); });
    done.get_future().wait();
    thread_->stop();
    connection_.reset();
    messenger_.reset();
  }

  void on_thread(std::function<void()> fn) {
    std::promise<void> done;
    thread_->center().post([&] {
      fn();
      done.set_value();
    });
    done.get_future().wait();
  }
  Address bind(const Address& address) {
    Address bound;
    on_thread([&] { bound = *messenger_->bind(address, Policy::kStatefulServer); });
    return bound;
  }
  void connect(const Address& address) {
    on_thread([&] { connection_ = messenger_->connect(address, Policy::kLosslessClient); });
  }
  // Everything arrived here, or the time is over.
  bool wait() {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds(240), [&] {
      return complete_ || !problem_.empty();
    }) && problem_.empty();
  }
  std::string problem() {
    const std::scoped_lock lock(mutex_);
    return problem_;
  }
  int links_up() {
    int count = 0;
    on_thread([&] { count = links_up_; });
    return count;
  }

 private:
  void on_open(Connection& connection) override {
    if (opened_) fail("a second session");
    opened_ = true;
    send_some(connection);
  }
  // A window, so that links break while messages are in every state.
  void send_some(Connection& connection) {
    for (int i = 0; i < 8 && next_ < kMessages; ++i) {
      ++next_;
      connection.send(std::make_unique<ProbeMessage>(probe_, meta(next_), std::to_string(next_),
                                                     pattern(next_, data_bytes_of(next_))));
    }
    probe_.encoded_for.clear();
  }
  void on_message(Connection& connection, InMessage message) override {
    const uint64_t tid = ++received_;
    if (message.meta.tid != tid) {
      fail("message " + std::to_string(message.meta.tid) + " instead of " + std::to_string(tid));
    } else if (as_text(message.front) != std::to_string(tid) ||
               as_text(message.data) != pattern(tid, data_bytes_of(tid))) {
      fail("message " + std::to_string(tid) + " is damaged");
    }
    if (tid % 4 == 0) send_some(connection);
    if (tid == kMessages) {
      const std::scoped_lock lock(mutex_);
      complete_ = true;
      arrived_.notify_all();
    }
  }
  void on_reset(Connection&, std::error_code why) override {
    if (!complete_) fail("reset: " + why.message());
  }
  void on_link(Connection&, bool up) override { links_up_ += up ? 1 : 0; }
  void fail(std::string problem) {
    const std::scoped_lock lock(mutex_);
    if (problem_.empty()) problem_ = std::move(problem);
    arrived_.notify_all();
  }

  std::unique_ptr<WorkerThread> thread_;
  std::unique_ptr<Messenger> messenger_;
  ConnectionRef connection_;
  Probe probe_;
  uint64_t next_ = 0;
  uint64_t received_ = 0;
  bool opened_ = false;
  int links_up_ = 0;
  std::mutex mutex_;
  std::condition_variable arrived_;
  bool complete_ = false;
  std::string problem_;
};

void expect_exactly_once(NetworkStack& stack, const Address& address) {
  Side server(stack, "osd.0");
  Side client(stack, "client.a");
  client.connect(server.bind(address));
  EXPECT_TRUE(client.wait()) << client.problem();
  EXPECT_TRUE(server.wait()) << server.problem();
  EXPECT_GT(client.links_up(), 10) << "nothing was replayed";
}

class ReplaySoakTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(ReplaySoakTest, EveryMessageArrivesOnceAndInOrderOverLinksThatBreak) {
  RandomCuts cuts(GetParam());
  LoopbackOptions options;
  options.injector = &cuts;
  LoopbackStack stack(options);
  expect_exactly_once(stack, Address::loopback());
  EXPECT_GT(cuts.cuts, 10);
}

TEST_P(ReplaySoakTest, AndOverTcpWithInjectedFaults) {
  auto posix = PosixStack::create({});
  ASSERT_TRUE(posix.has_value());
  InjectStack stack(**posix, InjectOptions{400, 0.01, std::chrono::microseconds(500), GetParam()});
  const Address address = GetParam() % 2 == 0 ? Address::loopback() : *Address::parse("[::1]:0");
  expect_exactly_once(stack, address);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReplaySoakTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace lunar::msgr
