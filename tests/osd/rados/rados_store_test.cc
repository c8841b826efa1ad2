// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/rados/rados_store.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>

#include "tests/osd/rados/fake_rados.h"
#include "tests/osd/rados/rados_under_test.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;

// Stores over RADOS in memory, as starts of servers of one cluster.
class RadosStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::unsetenv("LUNAR_TEST_CEPH_CONF");
    fake_.add_pool("lunar");
    start();
  }
  void TearDown() override {
    if (store_) driver_.shutdown(*store_);
  }

  void start() {
    if (store_) driver_.shutdown(*store_);
    const std::string home = folder_ / std::to_string(++starts_);
    store_ = open_rados_under_test(driver_.center(), driver_.buffers(), fake_, home);
    ASSERT_TRUE(store_);
  }
  void move_pool_to(const std::string& name_space) {
    map_.pools.front().rados_namespace = name_space;
  }
  std::error_code write(const std::string& text) {
    return driver_.write(*store_, id_, 0, as_const_bytes(text));
  }
  std::string read(std::size_t length) {
    const std::vector<std::byte> bytes = driver_.read(*store_, id_, 0, length);
    return std::string(as_text(bytes));
  }

  const ObjectId id_{1, "object"};
  TemporaryFolder folder_;
  FakeRados fake_;
  StoreDriver driver_;
  objecter::OsdMap map_ = map_of_rados_pools(1, "ns");
  int starts_ = 0;
  std::unique_ptr<ObjectStore> store_;
};

TEST_F(RadosStoreTest, AStartThatFailsBeforeTheLoopRunsLeavesNothingUnderWay) { store_.reset(); }

TEST_F(RadosStoreTest, TheFirstMapHasTheSpaceOfCephAskedFor) {
  store_->on_map(map_);
  driver_.shutdown(*store_);  // waits for the answer, and lets nobody ask from then on
  EXPECT_EQ(store_->usage().available, 60U);
  store_.reset();
}

TEST_F(RadosStoreTest, APlaceOfOursOpensWhenCephIsFull) {
  store_->on_map(map_);
  ASSERT_EQ(write("abc"), kNone);
  fake_.fail_changes(-ENOSPC);
  start();
  store_->on_map(map_);
  EXPECT_EQ(read(3), "abc");
  EXPECT_EQ(write("def"), make_error_code(OsdErrc::kNoSpace));
}

TEST_F(RadosStoreTest, ANewPlaceIsNotUsedBeforeItIsKnownToBeOurs) {
  fake_.fail_changes(-ENOSPC);
  store_->on_map(map_);
  EXPECT_EQ(write("abc"), make_error_code(OsdErrc::kIoError));
  fake_.fail_changes(0);
  EXPECT_EQ(fake_.content({"lunar", "ns.1"}, "object"), "(absent)");
  EXPECT_EQ(fake_.content({"lunar", "ns.1"}, "@lunar"), "(absent)");
}

TEST_F(RadosStoreTest, APoolOfANewerMapIsWhereThatMapSays) {
  store_->on_map(map_);
  ASSERT_EQ(write("abc"), kNone);
  move_pool_to("other");
  store_->on_map(map_);
  ASSERT_EQ(write("def"), kNone);
  EXPECT_EQ(fake_.content({"lunar", "ns.1"}, "object"), "abc");
  EXPECT_EQ(fake_.content({"lunar", "other"}, "object"), "def");
}

TEST_F(RadosStoreTest, APlaceThatIsGivenUpWhileItIsOpenedIsNotUsed) {
  store_->on_map(map_);
  move_pool_to("other");
  store_->on_map(map_);
  ASSERT_EQ(write("abc"), kNone);
  ASSERT_EQ(write("def"), kNone);
  EXPECT_EQ(fake_.content({"lunar", "ns.1"}, "object"), "(absent)");
  EXPECT_EQ(fake_.content({"lunar", "other"}, "object"), "def");
}

}  // namespace
}  // namespace lunar::osd::test
