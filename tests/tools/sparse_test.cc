// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/sparse.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace lunar::tools {
namespace {

using Runs = std::vector<std::pair<std::size_t, std::size_t>>;

Runs runs_of(const std::vector<std::byte>& data, std::size_t grain) {
  Runs runs;
  for_each_nonzero_run(data, grain,
                       [&](std::size_t at, std::size_t length) { runs.emplace_back(at, length); });
  return runs;
}

TEST(SparseTest, NothingButZeroesYieldsNothing) {
  EXPECT_TRUE(runs_of(std::vector<std::byte>(10000), 4096).empty());
  EXPECT_TRUE(runs_of({}, 4096).empty());
}

TEST(SparseTest, RunsAreWholeGrainsAndJoined) {
  std::vector<std::byte> data(5 * 4096);
  data[4096] = std::byte{1};
  data[2 * 4096 + 4095] = std::byte{1};
  data[4 * 4096] = std::byte{1};
  EXPECT_EQ(runs_of(data, 4096), (Runs{{4096, 8192}, {16384, 4096}}));
}

TEST(SparseTest, AShortEndIsKeptShort) {
  std::vector<std::byte> data(4096 + 100);
  data[4096 + 99] = std::byte{1};
  EXPECT_EQ(runs_of(data, 4096), (Runs{{4096, 100}}));
}

TEST(SparseTest, ASingleByteIsSeen) {
  EXPECT_TRUE(is_zero(std::vector<std::byte>(1)));
  EXPECT_FALSE(is_zero(std::vector<std::byte>(1, std::byte{1})));
  EXPECT_TRUE(is_zero({}));
}

}  // namespace
}  // namespace lunar::tools
