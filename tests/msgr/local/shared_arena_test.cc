// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/shared_arena.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstring>
#include <vector>

#include "msgr/local/sealed_memory.h"
#include "tests/support/sizes.h"

namespace lunar::msgr::local {
namespace {

TEST(SharedArenaTest, ASliceIsFoundWhereOthersSeeIt) {
  SharedArena arena(64 * kMiB);
  const RegisteredBuffer first = arena.allocate(kMiB);
  const RegisteredBuffer second = arena.allocate(5000);
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(first.is_registered());
  EXPECT_EQ(second.bytes().size(), 5000u);
  const auto place = arena.find(second.bytes());
  ASSERT_TRUE(place);
  const auto seen = SharedMapping::map(place->region->fd, 16 * kMiB);
  ASSERT_TRUE(seen);
  std::memset(second.bytes().data(), 7, 5000);
  EXPECT_EQ((*seen)->bytes()[place->offset], std::byte{7});
  EXPECT_EQ((*seen)->bytes()[place->offset + 4999], std::byte{7});
  EXPECT_EQ(arena.find(first.bytes())->region, place->region);
}

TEST(SharedArenaTest, WhatIsNotOfItIsNotFound) {
  SharedArena arena(64 * kMiB);
  const RegisteredBuffer buffer = arena.allocate(4096);
  const std::vector<std::byte> foreign(4096);
  EXPECT_FALSE(arena.find(foreign));
  EXPECT_FALSE(arena.find(ConstBytes()));
  EXPECT_FALSE(arena.find({buffer.bytes().data(), 16 * kMiB + 1})) << "behind its chunk";
}

TEST(SharedArenaTest, GrowsByChunksUpToItsBudget) {
  SharedArena arena(20 * kMiB);  // a chunk of 16 and one of 4
  std::vector<RegisteredBuffer> leases;
  for (int i = 0; i < 20; ++i) {
    leases.push_back(arena.allocate(kMiB));
    ASSERT_TRUE(leases.back()) << i;
    leases.back().bytes()[0] = std::byte{1};
  }
  EXPECT_FALSE(arena.allocate(1));
  EXPECT_EQ(arena.bytes_in_use(), 20 * kMiB);
  EXPECT_NE(arena.find(leases[0].bytes())->region, arena.find(leases[19].bytes())->region);
  leases.pop_back();
  EXPECT_TRUE(arena.allocate(kMiB));
}

TEST(SharedArenaTest, WhatIsLongerThanAChunkIsPlainMemory) {
  SharedArena arena(40 * kMiB);
  {
    const RegisteredBuffer large = arena.allocate(17 * kMiB);
    ASSERT_TRUE(large);
    EXPECT_FALSE(large.is_registered());
    EXPECT_FALSE(arena.find(large.bytes()));
    EXPECT_FALSE(arena.allocate(41 * kMiB));
    EXPECT_FALSE(arena.allocate(30 * kMiB));
  }
  EXPECT_EQ(arena.bytes_in_use(), 0u);
  EXPECT_TRUE(arena.allocate(41 * kMiB)) << "an idle one grants one of any size";
}

// As with vm.overcommit_memory = 2, when all is promised: such a mapping may fail half way.
TEST(SharedArenaTest, PagesAreReplacedWhenThereMayBeNoMorePrivateMemory) {
  SharedArena arena(16 * kMiB);
  const RegisteredBuffer taken = arena.allocate(8192);
  std::memset(taken.bytes().data(), 2, 8192);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_DATA, &before), 0);
  const rlimit none{kPage, before.rlim_max};  // 0 has another meaning
  ASSERT_EQ(setrlimit(RLIMIT_DATA, &none), 0);
  const auto error = arena.replace(taken.bytes());
  ASSERT_EQ(setrlimit(RLIMIT_DATA, &before), 0);
  EXPECT_FALSE(error) << error.message();
  EXPECT_EQ(taken.bytes()[8191], std::byte{0});
}

TEST(SharedArenaTest, ReplacedPagesAreNotSeenByOthersUntilTheChunkWasFree) {
  SharedArena arena(16 * kMiB);
  RegisteredBuffer beside = arena.allocate(8192);
  RegisteredBuffer taken = arena.allocate(6000);
  std::memset(beside.bytes().data(), 1, 8192);
  std::memset(taken.bytes().data(), 2, 6000);
  const auto place = arena.find(taken.bytes());
  ASSERT_TRUE(place);
  const auto seen = SharedMapping::map(place->region->fd, 16 * kMiB);
  ASSERT_FALSE(arena.replace(taken.bytes()));
  std::memset((*seen)->bytes().data() + place->offset, 3, 6000);
  EXPECT_EQ(taken.bytes()[0], std::byte{0});
  EXPECT_EQ(taken.bytes()[5999], std::byte{0});
  EXPECT_EQ(beside.bytes()[8191], std::byte{1});
  EXPECT_FALSE(arena.find(taken.bytes()));
  EXPECT_FALSE(arena.find(taken.bytes().subspan(4096, 1)));
  EXPECT_TRUE(arena.find(beside.bytes()));
  taken = {};
  taken = arena.allocate(6000);
  EXPECT_FALSE(arena.find(taken.bytes())) << "the chunk is in use";
  taken = {};
  beside = {};
  beside = arena.allocate(16 * kMiB);
  const auto renewed = arena.find(beside.bytes());
  ASSERT_TRUE(renewed);
  EXPECT_NE(renewed->region->id, place->region->id);
}

}  // namespace
}  // namespace lunar::msgr::local
