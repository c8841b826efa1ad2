// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/nearest_word.h"

#include <gtest/gtest.h>

#include <vector>

namespace lunar {
namespace {

const std::vector<std::string_view> kWords = {"create", "ls", "status"};

TEST(NearestWordTest, FindsWhatWasMisspelt) {
  EXPECT_EQ(nearest_word("crate", kWords), "create");
  EXPECT_EQ(nearest_word("lsx", kWords), "ls");
}

TEST(NearestWordTest, GuessesNothingOfWhatIsFarFromAll) {
  EXPECT_EQ(nearest_word("frobnicate", kWords), "");
  EXPECT_EQ(nearest_word("xy", kWords), "");
}

}  // namespace
}  // namespace lunar
