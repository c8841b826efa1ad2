// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/osd/store/faulty_store.h"

#include "osd/store/mem_store.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;
using Call = FaultyStore::Call;

class FaultyStoreTest : public ::testing::Test {
 protected:
  StoreDriver driver_;
  FaultyStore store_{driver_.center(),
                     std::make_unique<MemStore>(driver_.center(), driver_.buffers(),
                                                MemStore::Options{{}, 1 << 20})};
  const ObjectId id_{1, "object"};
  const std::vector<std::byte> bytes_ = pattern(1000, 1);
};

TEST_F(FaultyStoreTest, AFailedWriteChangesNothingAndTheNextOneWorks) {
  store_.fail_next(Call::kWrite, OsdErrc::kIoError);
  EXPECT_EQ(driver_.write(store_, id_, 0, bytes_), OsdErrc::kIoError);
  EXPECT_EQ(driver_.stat(store_, id_).error(), OsdErrc::kNoSuchObject);
  EXPECT_EQ(driver_.write(store_, id_, 0, bytes_), std::error_code{});
  EXPECT_EQ(driver_.read(store_, id_, 0, 1000), bytes_);
  EXPECT_EQ(store_.calls(Call::kWrite), 2U);
}

TEST_F(FaultyStoreTest, AFailedFlushIsALossUntilAcknowledged) {
  int told = 0;
  store_.set_on_loss([&](std::error_code, const std::vector<ObjectId>&) { ++told; });
  store_.fail_next(Call::kFlush, OsdErrc::kIoError);
  EXPECT_EQ(driver_.flush(store_), OsdErrc::kIoError);
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(store_.may_have_lost_writes());
  EXPECT_EQ(driver_.acknowledge_loss(store_), std::error_code{});
  EXPECT_FALSE(store_.may_have_lost_writes());
}

TEST_F(FaultyStoreTest, AHeldCallEndsWhenItIsReleased) {
  store_.hold(Call::kWrite);
  bool is_done = false;
  store_.write(id_, 0, bytes_, false, [&](std::error_code error) {
    EXPECT_EQ(error, std::error_code{});
    is_done = true;
  });
  driver_.center().run_until_idle();
  EXPECT_FALSE(is_done);
  EXPECT_EQ(store_.held(Call::kWrite), 1U);
  store_.release(Call::kWrite);
  driver_.run_until(is_done);
  EXPECT_EQ(driver_.write(store_, id_, 0, bytes_), std::error_code{}) << "not held any more";
}

TEST_F(FaultyStoreTest, TheBudgetOfTheMemStoreIsItsSpace) {
  EXPECT_EQ(driver_.write(store_, id_, 0, pattern(1 << 20, 1)), std::error_code{});
  EXPECT_EQ(driver_.write(store_, {1, "more"}, 0, bytes_), OsdErrc::kNoSpace);
  EXPECT_EQ(store_.usage().available, 0U);
  EXPECT_EQ(driver_.write(store_, id_, 5, bytes_), std::error_code{}) << "needs no more";
  EXPECT_EQ(driver_.zero(store_, id_, 0, 128 << 10), std::error_code{});
  EXPECT_EQ(driver_.write(store_, {1, "more"}, 0, bytes_), std::error_code{});
}

}  // namespace
}  // namespace lunar::osd::test
