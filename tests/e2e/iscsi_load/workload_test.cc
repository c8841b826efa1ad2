// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/workload.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

namespace lunar::iscsi_load {
namespace {

constexpr uint64_t kMaxOp = 16384;  // 8 MiB of 512-byte blocks
constexpr int kManyOps = 20'000;

WorkloadOptions full_mix() {
  WorkloadOptions options;
  options.seed = 5;
  options.span = {1000, 1 << 20};
  options.max_op_blocks = kMaxOp;
  options.boundary_blocks = 8192;
  options.max_unmap_blocks = 2 * kMaxOp;
  options.max_write_same_blocks = 4096;
  options.max_compare_and_write_blocks = 128;
  options.write_same_unmap = true;
  options.sync_and_fua = true;
  return options;
}

TEST(WorkloadTest, SameSeedGivesTheSameSequence) {
  Workload one(full_mix()), two(full_mix());
  for (int i = 0; i < 1000; ++i) {
    Op a = one.next(), b = two.next();
    EXPECT_EQ(std::tuple(a.kind, a.range.lba, a.range.num_blocks, a.content, a.fua),
              std::tuple(b.kind, b.range.lba, b.range.num_blocks, b.content, b.fua));
  }
}

TEST(WorkloadTest, RangesStayInTheSpanAndUnderTheirLimits) {
  WorkloadOptions options = full_mix();
  Workload workload(options);
  std::map<OpKind, uint64_t> longest;
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    if (op.kind == OpKind::kSync) continue;
    EXPECT_GE(op.range.num_blocks, 1u);
    EXPECT_GE(op.range.lba, options.span.lba);
    EXPECT_LE(op.range.end(), options.span.end());
    longest[op.kind] = std::max(longest[op.kind], op.range.num_blocks);
  }
  EXPECT_EQ(longest[OpKind::kRead], kMaxOp);
  EXPECT_EQ(longest[OpKind::kWrite], kMaxOp);
  EXPECT_EQ(longest[OpKind::kUnmap], 2 * kMaxOp);
  EXPECT_EQ(longest[OpKind::kWriteSame], 4096u);
  EXPECT_LE(longest[OpKind::kCompareAndWrite], 8u);
}

TEST(WorkloadTest, SpanSmallerThanTheLongestOpIsRespected) {
  WorkloadOptions options = full_mix();
  options.span = {3, 5};
  Workload workload(options);
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    if (op.kind == OpKind::kSync) continue;
    EXPECT_GE(op.range.lba, 3u);
    EXPECT_LE(op.range.end(), 8u);
  }
}

TEST(WorkloadTest, EveryWriteHasItsOwnGeneration) {
  Workload workload(full_mix());
  std::set<Content> seen;
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    if (op.content == kZeroes) continue;
    EXPECT_TRUE(seen.insert(generation_of(op.content)).second);
  }
}

TEST(WorkloadTest, OpsOftenSitAstrideABoundary) {
  WorkloadOptions options = full_mix();
  options.max_op_blocks = 64;
  Workload workload(options);
  int astride = 0;
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    if (op.kind != OpKind::kWrite) continue;
    astride += op.range.lba / 8192 != (op.range.end() - 1) / 8192;
  }
  EXPECT_GT(astride, kManyOps / 50);
}

TEST(WorkloadTest, CompareAndWriteNeverCrossesAnAlignedWindow) {
  Workload workload(full_mix());
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    if (op.kind != OpKind::kCompareAndWrite) continue;
    EXPECT_EQ(op.range.lba / 8, (op.range.end() - 1) / 8);
  }
}

TEST(WorkloadTest, PlainMixHasOnlyReadsAndWritesInTheWantedShare) {
  WorkloadOptions options;
  options.span = {0, 1 << 20};
  options.max_op_blocks = kMaxOp;
  options.read_percent = 80;
  Workload workload(options);
  std::map<OpKind, int> kinds;
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    EXPECT_FALSE(op.fua);
    ++kinds[op.kind];
  }
  EXPECT_EQ(kinds.size(), 2u);
  EXPECT_NEAR(kinds[OpKind::kRead], kManyOps * 0.8, kManyOps * 0.02);
}

TEST(WorkloadTest, FullMixHasEveryKind) {
  Workload workload(full_mix());
  std::map<OpKind, int> kinds;
  bool has_fua = false, has_miscompare = false, has_unmap_bit = false;
  for (int i = 0; i < kManyOps; ++i) {
    Op op = workload.next();
    ++kinds[op.kind];
    has_fua |= op.fua;
    has_miscompare |= op.miscompare;
    has_unmap_bit |= op.unmap;
  }
  EXPECT_EQ(kinds.size(), kNumOpKinds);
  EXPECT_TRUE(has_fua && has_miscompare && has_unmap_bit);
}

}  // namespace
}  // namespace lunar::iscsi_load
