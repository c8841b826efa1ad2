// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/event_center.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "common/file.h"
#include "msgr/event/worker_thread.h"
#include "tests/msgr/event_center_fixture.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;
using EventCenterTest = EventCenterFixture;

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

TEST_F(EventCenterTest, ACallThatEndsAsItIsMadeEndsLaterAndInOrderWithPosts) {
  std::vector<int> ran;
  std::error_code result;
  center_->post([&] { ran.push_back(1); });
  center_->post_done(
      [&](std::error_code why) {
        ran.push_back(2);
        result = why;
      },
      std::make_error_code(std::errc::io_error));
  center_->post_done({}, {});
  center_->post([&] { ran.push_back(3); });
  EXPECT_TRUE(ran.empty());
  center_->run_until_idle();
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(result, std::errc::io_error);
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
  center_->post_done([held](std::error_code) {}, {});
  center_->run_after(milliseconds(1), [held] {});
  center_.reset();
  EXPECT_EQ(held.use_count(), 1);
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
    EXPECT_FALSE(center_->is_in_loop());
    center_->adopt_thread();
    EXPECT_TRUE(center_->is_in_loop());
    center_->post([&] { there = true; });
    center_->process();
  });
  other.join();
  EXPECT_TRUE(there);
  EXPECT_FALSE(center_->is_in_loop());
  center_->adopt_thread();
}

}  // namespace
}  // namespace lunar::msgr
