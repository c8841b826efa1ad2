// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/memlock.h"

#include <gtest/gtest.h>

#include "tests/support/sizes.h"

namespace lunar {
namespace {

TEST(MemlockTest, ReadsWhatIsPinnedAndTheCapability) {
  const Memlock plain = parse_proc_status(
      "Name:\tlunar-osd\nVmLck:\t      12 kB\nVmPin:\t     2048 kB\nCapEff:\t0000000000000000\n");
  EXPECT_EQ(plain.pinned, 2 * kMiB);
  EXPECT_FALSE(plain.is_exempt);
  const Memlock root = parse_proc_status("CapEff:\t000001ffffffffff\nVmPin:\t0 kB");
  EXPECT_TRUE(root.is_exempt);
  EXPECT_FALSE(parse_proc_status("").is_exempt);
  // CAP_IPC_LOCK alone, bit 14.
  EXPECT_TRUE(parse_proc_status("CapEff:\t0000000000004000\n").is_exempt);
}

TEST(MemlockTest, TheSentenceSaysWhatIsThereWhatIsNeededAndHowToMendIt) {
  Memlock memlock;
  memlock.limit = 8 * kMiB;
  memlock.pinned = kMiB;
  EXPECT_TRUE(check_memlock(memlock, 7 * kMiB, "staging buffers"));
  const auto refused = check_memlock(memlock, 16 * kMiB, "staging buffers");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, std::errc::not_enough_memory);
  const std::string& text = refused.error().message;
  for (const char* part : {"8 MiB", "1 MiB", "16 MiB", "staging buffers", "LimitMEMLOCK=infinity",
                           "/etc/security/limits.conf"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
}

TEST(MemlockTest, NoLimitOrTheCapabilityAllowsAnything) {
  Memlock memlock;
  memlock.limit = Memlock::kUnlimited;
  EXPECT_TRUE(check_memlock(memlock, uint64_t{1} << 40, "x"));
  memlock.limit = 0;
  memlock.is_exempt = true;
  EXPECT_TRUE(check_memlock(memlock, uint64_t{1} << 40, "x"));
}

TEST(MemlockTest, MorePinnedThanAllowedLeavesNothing) {
  Memlock memlock;
  memlock.limit = kMiB;
  memlock.pinned = 2 * kMiB;
  EXPECT_EQ(memlock.available(), 0u);
  EXPECT_TRUE(check_memlock(memlock, 0, "nothing"));
  EXPECT_FALSE(check_memlock(memlock, 1, "a byte"));
}

}  // namespace
}  // namespace lunar
