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
  void add_server(objecter::OsdId id, const std::string& client) {
    objecter::OsdInfo info;
    info.id = id;
    info.up = true;
    info.kind = objecter::StoreKind::kRados;
    info.rados_client = client;
    map_.osds.push_back(std::move(info));
  }
  // Why not; empty if it is.
  std::string fence(const std::string& client) {
    return driver_.wait<std::string>([&](auto done) {
      store_->fence(client, [done](const Outcome<void>& fenced) mutable {
        done(fenced ? std::string() : fenced.error().message);
      });
    });
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

// --- fences ---

TEST_F(RadosStoreTest, AServerIsFencedByTheBlocklistAndSaidToBeOnlyIfItIs) {
  EXPECT_EQ(fence("someone/1"), "");
  EXPECT_EQ(fake_.blocklisted(), std::vector<std::string>{"someone/1"});
  fake_.set_monitor(-ETIMEDOUT);
  EXPECT_NE(fence("someone/2"), "");
}

TEST_F(RadosStoreTest, AFencedStoreWritesNothingAndSaysSoBeforeItsOpsEnd) {
  store_->on_map(map_);
  ASSERT_EQ(write("abc"), kNone);
  bool is_fenced = false;
  store_->set_on_fenced([&] { is_fenced = true; });
  fake_.connect()->blocklist(store_->client());
  EXPECT_NE(write("def"), kNone);
  EXPECT_TRUE(is_fenced);
  EXPECT_EQ(fake_.content({"lunar", "ns.1"}, "object"), "abc");
  store_->set_on_fenced({});
}

// Else an OSD of Ceph that has not heard of the fence could carry out something of the dead server
// after something of ours.
TEST_F(RadosStoreTest, OpsWaitForTheFencesOfAMapWithoutAServerThatWasUp) {
  add_server(7, "someone/7");
  store_->on_map(map_);
  ASSERT_EQ(write("abc"), kNone);
  fake_.set_monitor(0, true);
  const int before = fake_.catch_ups();
  map_.osds.clear();
  ++map_.epoch;
  store_->on_map(map_);
  bool is_done = false;
  const std::string text = "def";
  store_->write(id_, 0, as_const_bytes(text), false, [&](std::error_code error) {
    EXPECT_FALSE(error);
    is_done = true;
  });
  driver_.center().run_until_idle();
  EXPECT_FALSE(is_done);
  EXPECT_EQ(fake_.content({"lunar", "ns.1"}, "object"), "abc");
  fake_.set_monitor(0);
  driver_.run_until(is_done);
  EXPECT_EQ(fake_.catch_ups(), before + 1);
}

TEST_F(RadosStoreTest, AServerThatComesIsNoReasonToWait) {
  store_->on_map(map_);
  ASSERT_EQ(write("abc"), kNone);
  fake_.set_monitor(0, true);
  add_server(7, "someone/7");
  ++map_.epoch;
  store_->on_map(map_);
  EXPECT_EQ(write("def"), kNone);
  fake_.set_monitor(0);
}

}  // namespace
}  // namespace lunar::osd::test
