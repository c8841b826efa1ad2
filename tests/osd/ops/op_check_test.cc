// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_check.h"

#include "osd/service/server_options.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

OsdErrc check(Vector vector) { return check_op(vector.op()->header, OpLimits{}); }

TEST(OpCheckTest, AcceptsChecksBeforeChanges) {
  EXPECT_EQ(check(Vector().compare(0, "a").read(0, 1).write(0, "b")), OsdErrc::kOk);
}

TEST(OpCheckTest, RefusesACheckAfterAChange) {
  EXPECT_EQ(check(Vector().write(0, "b").compare(0, "a")), OsdErrc::kInvalid);
  EXPECT_EQ(check(Vector().write(0, "b").read(0, 1)), OsdErrc::kInvalid);
}

TEST(OpCheckTest, RefusesAnOrWriteAfterAnotherChangeOfData) {
  const auto or_after = [](Vector vector) {
    return check(std::move(vector.add(OpCode::kOrWrite, 0, 1, "b")));
  };
  EXPECT_EQ(or_after(Vector().write(0, "a")), OsdErrc::kInvalid);
  EXPECT_EQ(or_after(Vector().add(OpCode::kOrWrite, 0, 1, "a")), OsdErrc::kInvalid);
  EXPECT_EQ(or_after(Vector().add(OpCode::kDelete, 0, 0)), OsdErrc::kInvalid);
  EXPECT_EQ(or_after(Vector().compare(0, "a")), OsdErrc::kOk);
  EXPECT_EQ(or_after(Vector().add(OpCode::kSetXattr, 0, 0, "v", 0, "name")), OsdErrc::kOk);
  EXPECT_EQ(check(Vector().add(OpCode::kOrWrite, 0, 1, "a").write(0, "b")), OsdErrc::kOk);
}

TEST(OpCheckTest, RefusesARangePastTheLargestObject) {
  const uint64_t end = OpLimits{}.max_object_bytes;
  EXPECT_EQ(check(Vector().write(end - 1, "b")), OsdErrc::kOk);
  EXPECT_EQ(check(Vector().write(end, "b")), OsdErrc::kTooLarge);
  EXPECT_EQ(check(Vector().read(UINT64_MAX - 1, 1)), OsdErrc::kTooLarge);
  EXPECT_EQ(check(Vector().add(OpCode::kTruncate, 0, end + 1)), OsdErrc::kTooLarge);
}

TEST(OpCheckTest, RefusesMoreThanOneOpMayRead) {
  const uint64_t most = OpLimits{}.max_read_bytes;
  EXPECT_EQ(check(Vector().read(0, most)), OsdErrc::kOk);
  EXPECT_EQ(check(Vector().read(0, most).read(0, 1)), OsdErrc::kTooLarge);
}

TEST(OpCheckTest, RefusesWhatNoFrameOfTheConfigurationCouldAnswer) {
  constexpr uint64_t kFrame = 1u << 20;
  Config config;
  ASSERT_TRUE(config.set("ms_max_data_bytes", "1MiB"));
  const auto options = OsdServerOptions::from_config(config);
  ASSERT_TRUE(options);
  const auto error_of = [&](Vector vector) {
    return check_op(vector.op()->header, options->limits);
  };
  EXPECT_EQ(error_of(Vector().read(0, kFrame)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector().read(0, kFrame + 1)), OsdErrc::kTooLarge);
  EXPECT_EQ(error_of(Vector().add(OpCode::kSparseRead, 0, kFrame / 2)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector().add(OpCode::kSparseRead, 0, kFrame)), OsdErrc::kTooLarge)
      << "the map of its extents comes on top";
  EXPECT_EQ(error_of(Vector().read(0, kFrame).add(OpCode::kGetXattr, 0, 0, {}, 0, "name")),
            OsdErrc::kTooLarge);
  EXPECT_EQ(error_of(Vector().add(OpCode::kList, 0, 1000)), OsdErrc::kOk);
  EXPECT_EQ(error_of(Vector().add(OpCode::kList, 0, 10'000)), OsdErrc::kTooLarge);
}

TEST(OpCheckTest, TheUsualConfigurationTakesTheLargestRead) {
  const auto options = OsdServerOptions::from_config(Config());
  ASSERT_TRUE(options);
  EXPECT_EQ(options->limits.max_read_bytes, OpLimits{}.max_read_bytes);
}

TEST(OpCheckTest, RefusesMoreThanOneOpMayWrite) {
  OpLimits limits;
  limits.max_write_bytes = 4;
  EXPECT_EQ(check_op(Vector().write(0, "abcd").op()->header, limits), OsdErrc::kOk);
  EXPECT_EQ(check_op(Vector().write(0, "abcd").write(8, "e").op()->header, limits),
            OsdErrc::kTooLarge);
}

TEST(OpCheckTest, BoundsMetadataObjectsAndKeepsXattrsOffThem) {
  const uint64_t end = OpLimits{}.max_metadata_bytes;
  EXPECT_EQ(check(Vector().write(end, "b").metadata()), OsdErrc::kTooLarge);
  EXPECT_EQ(check(Vector().add(OpCode::kSetXattr, 0, 0, "v", 0, "name").metadata()),
            OsdErrc::kInvalid);
}

TEST(OpCheckTest, WriteSameNeedsABoundedBuffer) {
  SubOp step;
  step.code = OpCode::kWriteSame;
  step.length = 1u << 30;
  step.data_length = 512;
  EXPECT_EQ(buffer_bytes(step, {}), kPatternBufferBytes);
}

TEST(OpCheckTest, AReadOfTheWholeObjectCountsAsTheLargest) {
  OpLimits limits;
  limits.max_read_bytes = 2 * limits.max_metadata_bytes;
  EXPECT_EQ(check_op(Vector().read(0, 0).read(0, 0).op()->header, limits), OsdErrc::kOk);
  EXPECT_EQ(check_op(Vector().read(0, 0).read(0, 0).read(0, 0).op()->header, limits),
            OsdErrc::kTooLarge);
}

}  // namespace
}  // namespace lunar::osd
