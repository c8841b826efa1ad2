// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/event/worker_thread.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tests/msgr/event_center_fixture.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;

TEST(WorkerThreadTest, PostsRaceWithSleep) {
  auto worker = std::move(*WorkerThread::start({}));
  constexpr int kThreads = 3, kPosts = 3000;
  std::vector<int> last(kThreads, -1);  // written on the loop only
  std::atomic<int> ran{0}, disordered{0};
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        worker->center().post([&, t, i] {
          if (last[static_cast<size_t>(t)] != i - 1) ++disordered;
          last[static_cast<size_t>(t)] = i;
          ++ran;
        });
        // Now and then wait until the loop has gone to sleep over it.
        if (i % 64 == 0) {
          while (ran.load() < 1) std::this_thread::yield();
        }
      }
    });
  }
  for (auto& poster : posters) poster.join();
  worker->stop();
  EXPECT_EQ(ran.load(), kThreads * kPosts);
  EXPECT_EQ(disordered.load(), 0);
}

TEST(WorkerThreadTest, OnePostAtATimeAlwaysWakesTheSleepingLoop) {
  EventCenter::Options options;
  for (const int busy_us : {0, 200}) {
    options.busy_poll = std::chrono::microseconds(busy_us);
    auto worker = std::move(*WorkerThread::start(options));
    std::atomic<int> ran{0};
    for (int i = 1; i <= 1000; ++i) {
      worker->center().post([&ran] { ++ran; });
      ASSERT_TRUE(yield_until([&] { return ran.load() == i; }));
    }
    worker->stop();
  }
}

TEST(WorkerThreadTest, TwoLoopsPlayPingPong) {
  auto a = std::move(*WorkerThread::start({}));
  auto b = std::move(*WorkerThread::start({}));
  struct Game {
    EventCenter* side[2];
    int left = 4000;
    std::promise<void> over;
    void hit(int to) {
      if (--left == 0) return over.set_value();
      side[to]->post([this, to] { hit(1 - to); });
    }
  } game;
  game.side[0] = &a->center();
  game.side[1] = &b->center();
  a->center().post([&] { game.hit(1); });
  EXPECT_EQ(game.over.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  // The last hit may have run while the one who posted it is still inside post().
  a->stop();
  b->stop();
}

TEST(WorkerThreadTest, BlocksSignalsBearsItsNameAndHandsTheCenterBack) {
  EventCenter::Options options;
  options.name = "lunar-msgr-0";
  auto worker = std::move(*WorkerThread::start(options));
  std::promise<std::string> name;
  std::promise<bool> blocked;
  worker->center().post([&] {
    char text[16] = {};
    pthread_getname_np(pthread_self(), text, sizeof text);
    name.set_value(text);
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    blocked.set_value(sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR2) == 1);
  });
  EXPECT_EQ(name.get_future().get(), "lunar-msgr-0");
  EXPECT_TRUE(blocked.get_future().get());
  EXPECT_FALSE(worker->center().is_in_loop());
  worker->stop();
  EXPECT_TRUE(worker->center().is_in_loop());
  worker->stop();
}

TEST(WorkerThreadTest, TimersOfARunningLoopWakeIt) {
  auto worker = std::move(*WorkerThread::start({}));
  std::promise<EventCenter::Clock::duration> took;
  worker->center().post([&] {
    const auto begin = EventCenter::Clock::now();
    worker->center().run_after(milliseconds(5),
                               [&, begin] { took.set_value(EventCenter::Clock::now() - begin); });
  });
  EXPECT_GE(took.get_future().get(), milliseconds(5));
  worker->stop();
}

}  // namespace
}  // namespace lunar::msgr
