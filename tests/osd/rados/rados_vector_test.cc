// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/rados/rados_vector.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "common/file.h"
#include "tests/osd/rados/fake_rados.h"
#include "tests/osd/rados/rados_under_test.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::ObjectVersion;
using objecter::OpCode;
using objecter::OsdErrc;
using objecter::SubOp;

std::string zeroes(std::size_t count) { return std::string(count, '\0'); }

// Vectors on one object of a store, over RADOS in memory or a real Ceph.
class RadosVectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fake_.add_pool("lunar");
    store_ = open_rados_under_test(driver_.center(), driver_.buffers(), fake_, folder_ / "home");
    ASSERT_TRUE(store_);
    store_->on_map(map_of_rados_pools(1, Uuid::random().to_string()));
  }
  void TearDown() override {
    if (store_) driver_.shutdown(*store_);
  }

  struct Steps {
    std::vector<SubOp> steps;
    std::string data;
    bool is_repeatable = false;
    Steps& add(OpCode code, uint64_t offset = 0, uint64_t length = 0,
               const std::string& bytes = "") {
      SubOp step;
      step.code = code;
      step.offset = offset;
      step.length = length;
      step.data_length = static_cast<uint32_t>(bytes.size());
      steps.push_back(step);
      data += bytes;
      return *this;
    }
    Steps& at(ObjectVersion version) {
      add(OpCode::kAssertVersion);
      steps.back().version = version;
      return *this;
    }
    Steps& write(uint64_t offset, const std::string& bytes) {
      return add(OpCode::kWrite, offset, bytes.size(), bytes);
    }
    Steps& repeatable() {
      is_repeatable = true;
      return *this;
    }
    Steps& compare(uint64_t offset, const std::string& bytes) {
      return add(OpCode::kCmpExt, offset, bytes.size(), bytes);
    }
  };
  VectorResult apply(const Steps& steps) {
    ObjectVector wanted;
    wanted.object = {1, "object"};
    wanted.steps = steps.steps;
    wanted.data = as_const_bytes(steps.data);
    wanted.is_repeatable = steps.is_repeatable;
    buffers_.assign(steps.steps.size(), std::vector<std::byte>(1 << 16, std::byte{0xee}));
    for (auto& buffer : buffers_) wanted.buffers.push_back(buffer);
    std::optional<VectorResult> result;
    bool is_done = false;
    store_->vectors()->apply(wanted, [&](VectorResult& got) {
      result = got;
      is_done = true;
    });
    EXPECT_FALSE(is_done) << "done ran inside the call";
    driver_.run_until(is_done);
    return *result;
  }
  std::string read() {
    const VectorResult result = apply(Steps().add(OpCode::kRead));
    if (result.error != OsdErrc::kOk) return "(absent)";
    return std::string(as_text(ConstBytes(buffers_[0]).first(result.steps[0].filled)));
  }

  TemporaryFolder folder_;
  FakeRados fake_;
  StoreDriver driver_;
  std::unique_ptr<ObjectStore> store_;
  std::vector<std::vector<std::byte>> buffers_;
};

TEST_F(RadosVectorTest, AMiscompareSaysWhereAndChangesNothing) {
  ASSERT_EQ(apply(Steps().write(0, "abcdef")).error, OsdErrc::kOk);
  const VectorResult result = apply(Steps().compare(1, "bcxe").write(0, "ABCDEF"));
  EXPECT_EQ(result.error, OsdErrc::kMiscompare);
  EXPECT_EQ(result.steps[0].error, OsdErrc::kMiscompare);
  EXPECT_EQ(result.steps[0].value, 2U);
  EXPECT_EQ(read(), "abcdef");
  EXPECT_EQ(apply(Steps().compare(1, "bcde").write(0, "ABCDEF")).error, OsdErrc::kOk);
  EXPECT_EQ(read(), "ABCDEF");
}

TEST_F(RadosVectorTest, WhatIsNotThereComparesAsZeroes) {
  EXPECT_EQ(apply(Steps().compare(0, "x").write(0, "no")).error, OsdErrc::kMiscompare);
  EXPECT_EQ(read(), "(absent)");
  EXPECT_EQ(apply(Steps().compare(0, zeroes(4)).write(0, "yes")).error, OsdErrc::kOk);
  EXPECT_EQ(read(), "yes");
  EXPECT_EQ(apply(Steps().compare(3, zeroes(4)).write(0, "end")).error, OsdErrc::kOk);
  EXPECT_EQ(read(), "end");
}

TEST_F(RadosVectorTest, AVersionIsThatOfTheContentAndNoOther) {
  const VectorResult made = apply(Steps().at({}).write(0, "one"));
  ASSERT_EQ(made.error, OsdErrc::kOk);
  EXPECT_EQ(apply(Steps().at({}).write(0, "two")).error, OsdErrc::kVersionMismatch);
  EXPECT_EQ(apply(Steps().add(OpCode::kStat)).version, made.version);
  EXPECT_EQ(apply(Steps().at(made.version)).error, OsdErrc::kOk);
  const VectorResult changed = apply(Steps().at(made.version).add(OpCode::kWriteFull, 0, 2, "ab"));
  ASSERT_EQ(changed.error, OsdErrc::kOk);
  EXPECT_GT(changed.version, made.version);
  EXPECT_EQ(apply(Steps().at(made.version).write(0, "x")).error, OsdErrc::kVersionMismatch);
  EXPECT_EQ(apply(Steps().at(made.version).add(OpCode::kStat)).error, OsdErrc::kVersionMismatch);
  const ObjectVersion other_start{7, changed.version.counter};
  EXPECT_EQ(apply(Steps().at(other_start).write(0, "x")).error, OsdErrc::kVersionMismatch);
  EXPECT_EQ(read(), "ab");
}

TEST_F(RadosVectorTest, ARemovedObjectIsAbsentAndANewOneHasANewVersion) {
  const VectorResult made = apply(Steps().write(0, "one"));
  const VectorResult removed = apply(Steps().at(made.version).add(OpCode::kDelete));
  ASSERT_EQ(removed.error, OsdErrc::kOk);
  EXPECT_EQ(removed.version, ObjectVersion());
  EXPECT_EQ(apply(Steps().at(made.version).write(0, "x")).error, OsdErrc::kVersionMismatch);
  const VectorResult again = apply(Steps().at({}).write(0, "two"));
  ASSERT_EQ(again.error, OsdErrc::kOk);
  EXPECT_GT(again.version, made.version);
}

TEST_F(RadosVectorTest, OrWriteSetsBitsOfWhatIsThereOrOfZeroes) {
  ASSERT_EQ(apply(Steps().add(OpCode::kOrWrite, 2, 2, "\x01\x02")).error, OsdErrc::kOk);
  ASSERT_EQ(apply(Steps().add(OpCode::kOrWrite, 1, 2, "\x10\x10")).error, OsdErrc::kOk);
  EXPECT_EQ(read(), std::string("\0\x10\x11\x02", 4));
}

TEST_F(RadosVectorTest, StepsThatReturnDataAndStepsThatChangeAreOneVector) {
  ASSERT_EQ(apply(Steps().write(0, "before")).error, OsdErrc::kOk);
  const VectorResult result =
      apply(Steps().add(OpCode::kStat).add(OpCode::kRead, 3, 6).write(3, "AFTER"));
  ASSERT_EQ(result.error, OsdErrc::kOk);
  EXPECT_EQ(result.steps[0].value, 6U);
  EXPECT_EQ(as_text(ConstBytes(buffers_[1]).first(6)), std::string("ore\0\0\0", 6));
  EXPECT_EQ(read(), "befAFTER");
}

TEST_F(RadosVectorTest, AnAbsentObjectReadsAsZeroesAndHasNoSpace) {
  const VectorResult result = apply(Steps()
                                        .add(OpCode::kRead, 5, 100)
                                        .add(OpCode::kSparseRead, 0, 100)
                                        .add(OpCode::kMapExtents, 0, 100));
  EXPECT_EQ(result.error, OsdErrc::kOk);
  EXPECT_FALSE(result.exists);
  EXPECT_EQ(buffers_[0][0], std::byte{0});
  EXPECT_EQ(buffers_[0][99], std::byte{0});
  EXPECT_TRUE(result.steps[1].extents.extents.empty());
  EXPECT_TRUE(result.steps[2].extents.extents.empty());
  EXPECT_EQ(apply(Steps().add(OpCode::kStat)).error, OsdErrc::kNoSuchObject);
  EXPECT_EQ(apply(Steps().add(OpCode::kRead)).error, OsdErrc::kNoSuchObject);
}

TEST_F(RadosVectorTest, ZeroingAndRemovingWhatIsNotThereMakesNothing) {
  EXPECT_EQ(apply(Steps().add(OpCode::kZero, 0, 4096)).error, OsdErrc::kOk);
  EXPECT_EQ(apply(Steps().add(OpCode::kDelete)).error, OsdErrc::kOk);
  EXPECT_EQ(apply(Steps().at({}).add(OpCode::kZero, 0, 4096)).error, OsdErrc::kOk);
  EXPECT_EQ(apply(Steps().add(OpCode::kWriteSame, 0, 8, std::string(2, '\0'))).error, OsdErrc::kOk);
  EXPECT_EQ(read(), "(absent)");
  EXPECT_EQ(apply(Steps().add(OpCode::kWriteSame, 1, 6, "ab")).error, OsdErrc::kOk);
  EXPECT_EQ(read(), std::string("\0ababab", 7));
}

// What only RADOS in memory can be told to do.
class FakeRadosVectorTest : public RadosVectorTest {
 protected:
  void SetUp() override {
    ::unsetenv("LUNAR_TEST_CEPH_CONF");
    fake_.add_pool("lunar");
    store_ = open_rados_under_test(driver_.center(), driver_.buffers(), fake_, folder_ / "home");
    ASSERT_TRUE(store_);
    store_->on_map(map_of_rados_pools(1, "ns"));
  }
  const FakeRados::Place place_{"lunar", "ns.1"};
};

TEST_F(FakeRadosVectorTest, WhatChecksAndChangesIsOneCall) {
  const VectorResult made = apply(Steps().write(0, "abc"));
  const int calls = fake_.calls();
  apply(Steps().at(made.version).compare(0, "abc").write(0, "x").write(2, "z"));
  EXPECT_EQ(fake_.calls(), calls + 1);
  EXPECT_EQ(fake_.content(place_, "object"), "xbz");
}

TEST_F(FakeRadosVectorTest, AnObjectThatChangesInBetweenIsReadAgain) {
  ASSERT_EQ(apply(Steps().write(0, "\x01")).error, OsdErrc::kOk);
  int changes = 3;
  fake_.set_before_change([&] {
    if (changes-- > 0) fake_.put(place_, "object", "\x02");
  });
  EXPECT_EQ(apply(Steps().add(OpCode::kOrWrite, 0, 1, "\x04")).error, OsdErrc::kOk);
  EXPECT_EQ(fake_.content(place_, "object"), "\x06");
}

TEST_F(FakeRadosVectorTest, WhatIsReadAgainIsReturnedOnce) {
  ASSERT_EQ(apply(Steps().write(0, "abcd")).error, OsdErrc::kOk);
  int changes = 2;
  fake_.set_before_change([&] {
    if (changes-- > 0) fake_.put(place_, "object", "efgh");
  });
  const VectorResult result = apply(Steps().add(OpCode::kSparseRead, 0, 4).write(0, "new"));
  ASSERT_EQ(result.error, OsdErrc::kOk);
  EXPECT_EQ(result.steps[0].filled, 4U);
  EXPECT_EQ(as_text(ConstBytes(buffers_[0]).first(4)), "efgh");
  EXPECT_EQ(buffers_[0][4], std::byte{0xee});
}

TEST_F(FakeRadosVectorTest, AnObjectThatChangesAllTheTimeIsBusy) {
  fake_.set_before_change([&] { fake_.put(place_, "object", "x"); });
  EXPECT_EQ(apply(Steps().add(OpCode::kOrWrite, 0, 1, "\x04")).error, OsdErrc::kBusy);
}

TEST_F(FakeRadosVectorTest, ErrorsOfCephKeepTheirIdentity) {
  ASSERT_EQ(read(), "(absent)");  // so that the pool is open
  for (const auto& [error, expected] : {std::pair{-ENOSPC, OsdErrc::kNoSpace},
                                        {-EDQUOT, OsdErrc::kNoSpace},
                                        {-EFBIG, OsdErrc::kTooLarge},
                                        {-ETIMEDOUT, OsdErrc::kUnknownOutcome},
                                        {-ESHUTDOWN, OsdErrc::kUnknownOutcome},
                                        {-EIO, OsdErrc::kIoError}}) {
    fake_.fail_changes(error);
    EXPECT_EQ(apply(Steps().write(0, "abc")).error, expected) << error;
  }
}

TEST_F(FakeRadosVectorTest, WhatMayHaveBeenDoneMayBeDoneAgainOnlyIfItIsRepeatable) {
  ASSERT_EQ(read(), "(absent)");  // so that the pool is open
  fake_.fail_changes(-ESHUTDOWN);
  const auto swap = Steps().compare(0, zeroes(3)).write(0, "abc");
  EXPECT_EQ(apply(swap).error, OsdErrc::kUnknownOutcome);
  EXPECT_EQ(apply(Steps().write(0, "abc").repeatable()).error, OsdErrc::kShutdown);
  fake_.fail_changes(-ETIMEDOUT);
  EXPECT_EQ(apply(swap).error, OsdErrc::kUnknownOutcome);
  EXPECT_EQ(apply(Steps().write(0, "abc").repeatable()).error, OsdErrc::kBusy);
}

TEST_F(FakeRadosVectorTest, OpsOnANamespaceOfSomebodyElseFail) {
  fake_.put({"lunar", "other.1"}, "@lunar", "cluster X pool 1");
  driver_.shutdown(*store_);
  store_ = open_rados_under_test(driver_.center(), driver_.buffers(), fake_, folder_ / "other");
  store_->on_map(map_of_rados_pools(1, "other"));
  EXPECT_EQ(apply(Steps().write(0, "abc")).error, OsdErrc::kIoError);
  EXPECT_EQ(fake_.content({"lunar", "other.1"}, "object"), "(absent)");
}

}  // namespace
}  // namespace lunar::osd::test
