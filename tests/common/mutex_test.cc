// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/mutex.h"

#include <gtest/gtest.h>

#include <thread>

namespace lunar {
namespace {

struct Box {
  Mutex mutex;
  ConditionVariable changed;
  int value GUARDED_BY(mutex) = 0;
};

TEST(MutexTest, AWaiterSeesWhatWasChangedUnderTheMutex) {
  Box box;
  std::thread writer([&box] {
    MutexLock lock(box.mutex);
    box.value = 42;
    box.changed.notify_one();
  });
  {
    MutexLock lock(box.mutex);
    while (box.value == 0) box.changed.wait(box.mutex);
    EXPECT_EQ(box.value, 42);
  }
  writer.join();
}

TEST(MutexTest, TryLockFailsWhileAnotherThreadHoldsIt) {
  Mutex mutex;
  MutexLock lock(mutex);
  bool taken = false;
  std::thread([&] {
    if (mutex.try_lock()) {
      taken = true;
      mutex.unlock();
    }
  }).join();
  EXPECT_FALSE(taken);
}

}  // namespace
}  // namespace lunar
