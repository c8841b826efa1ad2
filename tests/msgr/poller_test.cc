// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>

#include "msgr/event/worker_thread.h"
#include "tests/msgr/event_center_fixture.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr {
namespace {

using PollerTest = EventCenterFixture;

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

TEST_F(PollerTest, APollerIsPolledUntilEmptyAndArmedBeforeTheHostSleeps) {
  FakeQueue queue;
  queue.work = 5;
  PollerRegistration registration(center_.get(), &queue);
  EXPECT_TRUE(readable(center_->fd())) << "a new poller has to be armed";
  center_->process();
  EXPECT_EQ(queue.done, 5);
  EXPECT_TRUE(queue.armed);
  EXPECT_FALSE(readable(center_->fd()));
}

TEST_F(PollerTest, APollerThatRefusesToBeArmedIsPolledAgain) {
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

TEST_F(PollerTest, APollerThatNeverRunsDryCannotKeepTheHost) {
  FakeQueue queue;
  queue.work = 1'000'000;
  PollerRegistration registration(center_.get(), &queue);
  center_->process();
  EXPECT_GT(queue.done, 0);
  EXPECT_TRUE(readable(center_->fd()));
}

TEST_F(PollerTest, APollerMayUnregisterAnotherWhilePolled) {
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

TEST_F(PollerTest, ARunningLoopPollsWhatAnFdAnnounces) {
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

}  // namespace
}  // namespace lunar::msgr
