// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/trace_values.h"

#include <gtest/gtest.h>

namespace lunar::osd {
namespace {

OsdOpHeader op_of(std::vector<OpCode> codes) {
  OsdOpHeader op;
  for (const OpCode code : codes) {
    SubOp step;
    step.code = code;
    step.length = 10;
    op.steps.push_back(step);
  }
  return op;
}

TEST(TraceValuesTest, AnOpOfOneStepHasTheKindOfTheStep) {
  EXPECT_EQ(trace_store_kind(op_of({OpCode::kOrWrite})), kTraceStoreWrite);
  EXPECT_EQ(trace_store_kind(op_of({OpCode::kSparseRead})), kTraceStoreRead);
  EXPECT_EQ(trace_store_kind(op_of({OpCode::kSetXattr})), kTraceStoreXattr);
}

TEST(TraceValuesTest, SeveralStepsAreAVectorAndTheirLengthsAreAdded) {
  const OsdOpHeader op = op_of({OpCode::kCmpExt, OpCode::kWrite});
  EXPECT_EQ(trace_store_kind(op), kTraceStoreVector);
  EXPECT_EQ(trace_store_bytes(op), 20u);
}

}  // namespace
}  // namespace lunar::osd
