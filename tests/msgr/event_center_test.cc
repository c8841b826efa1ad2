// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/event_center.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "common/file.h"
#include "msgr/event/worker_thread.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;

UniqueFd make_event(unsigned count = 0) { return UniqueFd(eventfd(count, EFD_NONBLOCK)); }
void add_to(const UniqueFd& fd) {
  const uint64_t one = 1;
  ASSERT_EQ(write(fd.get(), &one, sizeof one), 8);
}
void drain(const UniqueFd& fd) {
  uint64_t value;
  [[maybe_unused]] const auto length = read(fd.get(), &value, sizeof value);
}
bool readable(int fd) {
  pollfd host{fd, POLLIN, 0};
  return poll(&host, 1, 0) == 1;
}

// For what another thread is about to do. False only in a broken test.
template <typename Done>
bool yield_until(Done done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

class EventCenterTest : public testing::Test {
 protected:
  EventCenterTest() : center_(std::move(*EventCenter::create({}))) {}
  std::unique_ptr<EventCenter> center_;
};

// --- posts ---

TEST_F(EventCenterTest, PostedFunctionsRunLaterAndInOrder) {
  std::vector<int> ran;
  center_->post([&] {
    ran.push_back(1);
    center_->post([&] { ran.push_back(3); });
    ran.push_back(2);
  });
  EXPECT_TRUE(ran.empty());
  center_->run_until_idle();
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3}));
}

TEST_F(EventCenterTest, WhatWasPostedBeforeStopHasRunWhenRunReturns) {
  int ran = 0;
  for (int i = 0; i < 100; ++i) center_->post([&] { ++ran; });
  center_->stop();
  center_->run();
  EXPECT_EQ(ran, 100);
}

TEST_F(EventCenterTest, AStopFromInsideEndsTheLoopAndItCanRunAgain) {
  for (int i = 0; i < 2; ++i) {
    center_->run_after(milliseconds(1), [&] { center_->stop(); });
    center_->run();
  }
}

TEST_F(EventCenterTest, DestroysPostsAndTimersThatNeverRan) {
  auto held = std::make_shared<int>();
  center_->post([held] {});
  center_->run_after(milliseconds(1), [held] {});
  center_.reset();
  EXPECT_EQ(held.use_count(), 1);
}

TEST(EventCenterThreadTest, PostsRaceWithSleep) {
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

TEST(EventCenterThreadTest, OnePostAtATimeAlwaysWakesTheSleepingLoop) {
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

TEST(EventCenterThreadTest, TwoLoopsPlayPingPong) {
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
  EXPECT_FALSE(worker->center().in_loop());
  worker->stop();
  EXPECT_TRUE(worker->center().in_loop());
  worker->stop();
}

// --- fds ---

TEST_F(EventCenterTest, AWatchIsLevelTriggered) {
  const UniqueFd fd = make_event(1);
  int calls = 0;
  auto watch = center_->watch(fd.get(), FdEvents::kRead, [&](FdEvents events) {
    EXPECT_TRUE(has(events, FdEvents::kRead));
    if (++calls == 3) drain(fd);
  });
  ASSERT_TRUE(watch);
  center_->run_until_idle();
  EXPECT_EQ(calls, 3);
}

TEST_F(EventCenterTest, SetEventsSilencesAndRevivesAWatch) {
  const UniqueFd fd = make_event(1);
  int calls = 0;
  FdWatch watch;
  watch = std::move(*center_->watch(fd.get(), FdEvents::kNone, [&](FdEvents) {
    ++calls;
    watch.set_events(FdEvents::kNone);
  }));
  center_->run_until_idle();
  EXPECT_EQ(calls, 0);
  watch.set_events(FdEvents::kRead);
  center_->run_until_idle();
  EXPECT_EQ(calls, 1);
}

TEST_F(EventCenterTest, HangUpIsReportedUnasked) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  bool hung_up = false;
  FdWatch watch;
  watch = std::move(*center_->watch(reader.get(), FdEvents::kNone, [&](FdEvents events) {
    hung_up = has(events, FdEvents::kHangUp);
    watch = FdWatch();
  }));
  writer.reset();
  center_->run_until_idle();
  EXPECT_TRUE(hung_up);
  EXPECT_FALSE(watch);
}

TEST_F(EventCenterTest, AWatchEndedDuringDispatchIsNotCalledThoughItsEventWasRead) {
  // Both are ready, so one epoll_wait returns both; whoever is first ends itself and the other, and
  // takes the fd numbers for new watches.
  UniqueFd fds[2] = {make_event(1), make_event(1)};
  FdWatch watches[2];
  std::vector<FdWatch> reborn;
  int calls = 0, new_calls = 0;
  for (int i = 0; i < 2; ++i) {
    watches[i] = std::move(*center_->watch(fds[i].get(), FdEvents::kRead, [&](FdEvents) {
      ++calls;
      for (int j = 0; j < 2; ++j) {
        watches[j] = FdWatch();
        fds[j] = make_event(0);
        reborn.push_back(std::move(
            *center_->watch(fds[j].get(), FdEvents::kRead, [&](FdEvents) { ++new_calls; })));
      }
    }));
  }
  center_->run_until_idle();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(new_calls, 0);
}

TEST_F(EventCenterTest, ACallbackMayFreeWhatItCaptured) {
  struct Owner {
    UniqueFd fd = make_event(1);
    FdWatch watch;
    std::vector<int> payload = std::vector<int>(1000, 7);
  };
  auto owner = std::make_unique<Owner>();
  int sum = 0;
  owner->watch = std::move(*center_->watch(owner->fd.get(), FdEvents::kRead, [&](FdEvents) {
    sum = owner->payload[999];
    owner.reset();
  }));
  center_->run_until_idle();
  EXPECT_EQ(sum, 7);
}

TEST_F(EventCenterTest, ManyMoreFdsThanOneWaitReturnsAreAllServed) {
  std::vector<UniqueFd> fds;
  std::vector<FdWatch> watches;
  int calls = 0;
  for (int i = 0; i < 200; ++i) {
    fds.push_back(make_event(1));
    watches.push_back(std::move(
        *center_->watch(fds.back().get(), FdEvents::kRead, [&, fd = fds.back().get()](FdEvents) {
          uint64_t value;
          EXPECT_EQ(read(fd, &value, sizeof value), 8);
          ++calls;
        })));
  }
  center_->run_until_idle();
  EXPECT_EQ(calls, 200);
}

TEST_F(EventCenterTest, WatchingABadFdIsAnError) {
  EXPECT_EQ(center_->watch(-1, FdEvents::kRead, [](FdEvents) {}).error(),
            std::errc::bad_file_descriptor);
}

// --- embedded ---

TEST_F(EventCenterTest, FdIsReadableExactlyWhenThereIsSomethingToDo) {
  center_->process();
  EXPECT_FALSE(readable(center_->fd()));
  int ran = 0;
  center_->post([&] { ++ran; });
  EXPECT_TRUE(readable(center_->fd()));
  center_->process();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(readable(center_->fd()));

  std::thread([&] { center_->post([&] { ++ran; }); }).join();
  EXPECT_TRUE(readable(center_->fd()));
  center_->process();
  EXPECT_EQ(ran, 2);
  EXPECT_FALSE(readable(center_->fd()));

  const UniqueFd fd = make_event();
  auto watch = center_->watch(fd.get(), FdEvents::kRead, [&](FdEvents) {
    drain(fd);
    ++ran;
  });
  EXPECT_FALSE(readable(center_->fd()));
  add_to(fd);
  EXPECT_TRUE(readable(center_->fd()));
  center_->process();
  EXPECT_EQ(ran, 3);
  EXPECT_FALSE(readable(center_->fd()));
}

TEST_F(EventCenterTest, ATimerWakesAHostThatSleepsInItsOwnEpoll) {
  const UniqueFd host(epoll_create1(0));
  epoll_event event{};
  event.events = EPOLLIN;
  ASSERT_EQ(epoll_ctl(host.get(), EPOLL_CTL_ADD, center_->fd(), &event), 0);
  center_->process();
  bool ran = false;
  const auto begin = EventCenter::Clock::now();
  center_->run_after(milliseconds(20), [&] { ran = true; });  // outside process(), as a host does
  const TimerId far = center_->run_after(std::chrono::hours(1), [] {});
  for (int wakes = 0; !ran; ++wakes) {
    ASSERT_LT(wakes, 3) << "woken without a reason";
    ASSERT_EQ(epoll_wait(host.get(), &event, 1, 20'000), 1);
    center_->process();
  }
  EXPECT_GE(EventCenter::Clock::now() - begin, milliseconds(20));
  EXPECT_EQ(epoll_wait(host.get(), &event, 1, 0), 0);
  EXPECT_TRUE(center_->cancel(far));
}

TEST_F(EventCenterTest, TheHookIsCalledOncePerProcessAndOnlyFromOutside) {
  center_->process();
  int hooks = 0, ran = 0;
  center_->set_same_thread_hook([&] { ++hooks; });
  center_->post([&] {
    ++ran;
    center_->post([&] { ++ran; });
  });
  center_->post([&] { ++ran; });
  EXPECT_EQ(hooks, 1);
  EXPECT_FALSE(readable(center_->fd())) << "the hook stands for the wake-up";
  center_->process();
  EXPECT_EQ(ran, 3);
  EXPECT_EQ(hooks, 1);
  center_->post([&] { ++ran; });
  EXPECT_EQ(hooks, 2);
  center_->process();
  EXPECT_EQ(ran, 4);
  std::thread([&] { center_->post([&] { ++ran; }); }).join();
  EXPECT_EQ(hooks, 2) << "other threads wake through the fd";
  EXPECT_TRUE(readable(center_->fd()));
  center_->process();
  EXPECT_EQ(ran, 5);
}

TEST_F(EventCenterTest, APostThatAlwaysPostsAgainCannotKeepTheHost) {
  struct Again {
    EventCenter* center;
    int* ran;
    void operator()() const {
      ++*ran;
      center->post(Again{center, ran});
    }
  };
  int ran = 0;
  center_->post(Again{center_.get(), &ran});
  center_->process();
  EXPECT_GT(ran, 0);
  EXPECT_TRUE(readable(center_->fd())) << "there is more to do";
}

TEST_F(EventCenterTest, AnotherThreadMayAdoptACenter) {
  bool there = false;
  std::thread other([&] {
    EXPECT_FALSE(center_->in_loop());
    center_->adopt_thread();
    EXPECT_TRUE(center_->in_loop());
    center_->post([&] { there = true; });
    center_->process();
  });
  other.join();
  EXPECT_TRUE(there);
  EXPECT_FALSE(center_->in_loop());
  center_->adopt_thread();
}

// --- pollers ---

// Work arrives by add(); armed, its fd becomes readable for it.
class FakeQueue final : public Poller {
 public:
  bool poll() override {
    ++polls;
    if (work.load() == 0) return false;
    --work;
    ++done;
    return true;
  }
  bool try_arm() override {
    ++arms;
    if (refuse_arms > 0) {
      --refuse_arms;
      ++work;  // as if it arrived just now
      return false;
    }
    armed = true;
    if (work.load() > 0) {
      armed = false;
      return false;
    }
    return true;
  }
  void disarm() override {
    EXPECT_TRUE(armed);
    armed = false;
  }
  std::atomic<int> work{0};
  std::atomic<int> arms{0};
  int polls = 0, done = 0, refuse_arms = 0;
  bool armed = false;
};

TEST_F(EventCenterTest, APollerIsPolledUntilEmptyAndArmedBeforeTheHostSleeps) {
  FakeQueue queue;
  queue.work = 5;
  PollerRegistration registration(center_.get(), &queue);
  EXPECT_TRUE(readable(center_->fd())) << "a new poller has to be armed";
  center_->process();
  EXPECT_EQ(queue.done, 5);
  EXPECT_TRUE(queue.armed);
  EXPECT_FALSE(readable(center_->fd()));
}

TEST_F(EventCenterTest, APollerThatRefusesToBeArmedIsPolledAgain) {
  FakeQueue queue, other;
  PollerRegistration first(center_.get(), &other);
  PollerRegistration second(center_.get(), &queue);
  queue.refuse_arms = 3;
  center_->process();
  EXPECT_EQ(queue.done, 3);
  EXPECT_EQ(queue.arms, 4);
  EXPECT_TRUE(queue.armed);
  EXPECT_TRUE(other.armed);
}

TEST_F(EventCenterTest, APollerThatNeverRunsDryCannotKeepTheHost) {
  FakeQueue queue;
  queue.work = 1'000'000;
  PollerRegistration registration(center_.get(), &queue);
  center_->process();
  EXPECT_GT(queue.done, 0);
  EXPECT_TRUE(readable(center_->fd()));
}

TEST_F(EventCenterTest, APollerMayUnregisterAnotherWhilePolled) {
  FakeQueue victim;
  std::unique_ptr<PollerRegistration> victim_registration;
  struct Killer final : Poller {
    explicit Killer(std::unique_ptr<PollerRegistration>& target) : victim(target) {}
    bool poll() override {
      const bool did = victim != nullptr;
      victim.reset();
      return did;
    }
    bool try_arm() override { return true; }
    void disarm() override {}
    std::unique_ptr<PollerRegistration>& victim;
  } killer(victim_registration);
  PollerRegistration registration(center_.get(), &killer);
  victim_registration = std::make_unique<PollerRegistration>(center_.get(), &victim);
  center_->process();
  EXPECT_EQ(victim.polls, 0);
  EXPECT_EQ(victim.arms, 0);
}

TEST(EventCenterThreadTest, ARunningLoopPollsWhatAnFdAnnounces) {
  for (const int busy_us : {0, 300}) {
    EventCenter::Options options;
    options.busy_poll = std::chrono::microseconds(busy_us);
    auto worker = std::move(*WorkerThread::start(options));
    FakeQueue queue;
    const UniqueFd channel = make_event();
    PollerRegistration registration;
    FdWatch watch;
    std::promise<void> ready;
    worker->center().post([&] {
      registration = PollerRegistration(&worker->center(), &queue);
      watch = std::move(*worker->center().watch(channel.get(), FdEvents::kRead,
                                                [&](FdEvents) { drain(channel); }));
      ready.set_value();
    });
    ready.get_future().wait();
    for (int i = 0; i < 200; ++i) {
      ++queue.work;
      add_to(channel);
      ASSERT_TRUE(yield_until([&] { return queue.work.load() == 0; }));
    }
    EXPECT_TRUE(yield_until([&] { return queue.arms.load() > 0; })) << "an idle loop goes to sleep";
    worker->stop();
    registration = PollerRegistration();
    watch = FdWatch();
    EXPECT_EQ(queue.done, 200);
  }
}

TEST(EventCenterThreadTest, TimersOfARunningLoopWakeIt) {
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
