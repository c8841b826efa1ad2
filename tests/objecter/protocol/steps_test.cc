// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/steps.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

TEST(StepsTest, AStepHasWhatItWasMadeOfAndDefaults) {
  const SubOp step = make_step(OpCode::kWrite, 4096, 512, 512);
  EXPECT_EQ(step.code, OpCode::kWrite);
  EXPECT_EQ(step.offset, 4096u);
  EXPECT_EQ(step.length, 512u);
  EXPECT_EQ(step.data_length, 512u);
  EXPECT_EQ(step.flags, 0u);
  EXPECT_TRUE(step.name.empty());
}

TEST(StepsTest, AnAssertedVersionIsThatOfTheObject) {
  const SubOp step = assert_version({3, 9});
  EXPECT_EQ(step.code, OpCode::kAssertVersion);
  EXPECT_EQ(step.version, (ObjectVersion{3, 9}));
}

}  // namespace
}  // namespace lunar::objecter
