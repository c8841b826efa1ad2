// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/sealed_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lunar::msgr::local {
namespace {

TEST(SealedMemoryTest, TwoMappingsAreTheSameBytesAndItsSizeIsForGood) {
  const auto fd = make_sealed_memory(8192);
  ASSERT_TRUE(fd);
  const auto one = SharedMapping::map(*fd, 8192);
  const auto other = SharedMapping::map(*fd, 16'384);
  ASSERT_TRUE(one && other);
  (*one)->bytes()[8191] = std::byte{5};
  EXPECT_EQ((*other)->bytes()[8191], std::byte{5});
  EXPECT_NE(ftruncate(fd->get(), 4096), 0);
  EXPECT_NE(ftruncate(fd->get(), 16'384), 0);
  EXPECT_NE(fcntl(fd->get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
}

TEST(SealedMemoryTest, MoreThanIsAllowedIsNotMapped) {
  const auto fd = make_sealed_memory(8192);
  ASSERT_TRUE(fd);
  EXPECT_EQ(SharedMapping::map(*fd, 4096).error(), std::errc::invalid_argument);
}

}  // namespace
}  // namespace lunar::msgr::local
