// SPDX-License-Identifier: LGPL-2.1-or-later
// Holds with LTTng and without: nobody records this process, so a tracepoint does nothing.

#include "tracing/tracepoints.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace {

TEST(TracepointsTest, ArgumentsOfAnEventNobodyRecordsAreNotEvaluated) {
  int evaluated = 0;
  LUNAR_TRACE(lunar_objecter, map_received, static_cast<uint64_t>(++evaluated));
  EXPECT_EQ(evaluated, 0);
}

TEST(TracepointsTest, NothingIsEnabledWhereNobodyRecords) {
  EXPECT_FALSE(LUNAR_TRACE_ENABLED(lunar_gateway, io_split));
}

TEST(TracepointsTest, ATracepointIsOneStatement) {
  bool other = false;
  for (const bool traced : {true, false}) {
    if (traced)
      LUNAR_TRACE(lunar_objecter, map_received, 1);
    else
      other = true;
  }
  EXPECT_TRUE(other);
}

}  // namespace
