// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_watch.h"

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

class HeaderWatchTest : public MetadataFixture, private objecter::WatchHandler {
 protected:
  void SetUp() override {
    const auto made = create("disk", 8u << 20);
    ASSERT_TRUE(made);
    id_ = made->id;
    watch_of(id_);
  }
  void watch_of(ImageId id) {
    watch.emplace(*gateway, header_of(pool, id), 7, static_cast<objecter::WatchHandler&>(*this));
  }
  std::error_code begin() {
    std::optional<std::error_code> error;
    run_to_done<std::error_code>(*center, watch->begin(),
                                 [&error](std::error_code e) { error = e; });
    EXPECT_TRUE(until([&] { return error.has_value(); }));
    return error.value_or(std::error_code());
  }
  void end() {
    bool is_ended = false;
    watch->end([&is_ended](std::error_code) { is_ended = true; });
    EXPECT_TRUE(until([&] { return is_ended; }));
  }
  // How often the handler heard of a change that somebody has told of.
  int heard_of_a_change() {
    const int before = heard_;
    bool is_told = false;
    run_to_done<Result<objecter::NotifyResult>>(
        *center, tell_of_change(*gateway, pool, id_),
        [&is_told](Result<objecter::NotifyResult>) { is_told = true; });
    EXPECT_TRUE(until([&] { return is_told; }));
    return heard_ - before;
  }

  ImageId id() const { return id_; }

  std::optional<HeaderWatch> watch;

 private:
  void on_notify(const objecter::NotifyEvent&, objecter::NotifyReply ack) override {
    ++heard_;
    ack({});
  }
  void on_watch_lost(std::error_code) override { watch->on_lost(); }

  ImageId id_ = 0;
  int heard_ = 0;
};

TEST_F(HeaderWatchTest, HearsOfChangesWhileItIsOn) {
  EXPECT_FALSE(watch->is_on());
  ASSERT_FALSE(begin());
  EXPECT_TRUE(watch->is_on());
  EXPECT_EQ(heard_of_a_change(), 1);
  end();
  EXPECT_FALSE(watch->is_on());
  EXPECT_EQ(heard_of_a_change(), 0);
}

TEST_F(HeaderWatchTest, OneThatFailsIsNotOn) {
  watch_of(1);  // no image has this id
  EXPECT_EQ(begin(), objecter::OsdErrc::kNoSuchObject);
  EXPECT_FALSE(watch->is_on());
}

TEST_F(HeaderWatchTest, OneThatIsLostIsNotOnAndCanBeBegunAgain) {
  ASSERT_FALSE(begin());
  const objecter::OsdId osd = server_of(*gateway, header_of(pool, id())).osd;
  stop(osd);
  ASSERT_TRUE(until([&] { return !watch->is_on(); }));
  start(osd);
  ASSERT_TRUE(until([&] { return server_of(*gateway, header_of(pool, id())).is_up; }));
  ASSERT_FALSE(begin());
  EXPECT_TRUE(watch->is_on());
  EXPECT_EQ(heard_of_a_change(), 1);
  end();
}

TEST_F(HeaderWatchTest, OneThatIsNotOnHasEndedSoon) {
  bool is_called = false;
  watch->end([&is_called](std::error_code) { is_called = true; });
  EXPECT_FALSE(is_called) << "done runs later";
  turn();
  EXPECT_TRUE(is_called);
}

}  // namespace
}  // namespace lunar::gateway
