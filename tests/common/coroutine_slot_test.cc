// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/coroutine_slot.h"

#include <gtest/gtest.h>

namespace lunar {
namespace {

TEST(CoroutineSlotTest, IsWaitedInUntilItIsResumed) {
  CoroutineSlot slot;
  CoroutineSlot::Wait wait(slot);
  EXPECT_FALSE(slot.is_waited_in());
  slot.resume();
  wait.begin(std::noop_coroutine());
  EXPECT_TRUE(slot.is_waited_in() && wait.is_on());
  slot.resume();
  EXPECT_FALSE(slot.is_waited_in() || wait.is_on());
}

TEST(CoroutineSlotTest, AFrameThatIsDestroyedIsForgotten) {
  CoroutineSlot slot;
  {
    CoroutineSlot::Wait wait(slot);
    wait.begin(std::noop_coroutine());
  }
  EXPECT_FALSE(slot.is_waited_in());
}

TEST(CoroutineSlotDeathTest, HasRoomForOne) {
  CoroutineSlot slot;
  CoroutineSlot::Wait first(slot);
  CoroutineSlot::Wait second(slot);
  first.begin(std::noop_coroutine());
  EXPECT_DEATH(second.begin(std::noop_coroutine()), "one coroutine at a time");
  slot.resume();
}

}  // namespace
}  // namespace lunar
