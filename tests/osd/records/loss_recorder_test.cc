// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/loss_recorder.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;

class LossRecorderTest : public StoreFixture {
 protected:
  LossRecorderTest() {
    table.emplace(*store);
    recorder.emplace(*center, *store, *table);
  }
  ~LossRecorderTest() override { turn(); }
  void lose() {
    store->lose({});
    table->lose({5});
    recorder->record();
  }
  void pass(std::chrono::milliseconds time) {
    turn();
    clock.advance(time);
    turn();
  }

  std::optional<LossTable> table;
  std::optional<LossRecorder> recorder;
};

TEST_F(LossRecorderTest, TheStoreForgetsALossOnceItIsRecorded) {
  store->hold(Call::kRecord);
  lose();
  bool is_done = false;
  recorder->wait([&] { is_done = true; });
  turn();
  EXPECT_TRUE(recorder->is_recording());
  EXPECT_TRUE(store->may_have_lost_writes());
  EXPECT_FALSE(is_done);
  store->release(Call::kRecord);
  turn();
  EXPECT_FALSE(recorder->is_recording());
  EXPECT_FALSE(store->may_have_lost_writes());
  EXPECT_TRUE(is_done);
}

TEST_F(LossRecorderTest, TheStoreKeepsAnEarlierLossUntilTheLaterOneIsRecordedToo) {
  store->hold(Call::kRecord);
  lose();
  lose();
  store->release(Call::kRecord);
  store->hold(Call::kRecord);
  turn();
  EXPECT_TRUE(recorder->is_recording());
  EXPECT_TRUE(store->may_have_lost_writes());
  store->release(Call::kRecord);
  turn();
  EXPECT_FALSE(store->may_have_lost_writes());
}

TEST_F(LossRecorderTest, ARecordThatFailsIsTriedAgainAfterASecond) {
  store->fail_next(Call::kRecord, system_error(EIO));
  lose();
  bool is_done = false;
  recorder->wait([&] { is_done = true; });
  turn();
  EXPECT_TRUE(is_done) << "nobody waits for the disk to be mended";
  EXPECT_TRUE(recorder->is_unrecorded());
  EXPECT_TRUE(store->may_have_lost_writes());
  pass(std::chrono::seconds(1));
  EXPECT_FALSE(recorder->is_unrecorded());
  EXPECT_FALSE(store->may_have_lost_writes());
}

TEST_F(LossRecorderTest, ItIsTriedAgainWhenAskedForAndOnlyThen) {
  recorder->try_again();
  EXPECT_EQ(store->calls(Call::kRecord), 0u);
  store->fail_next(Call::kRecord, system_error(EIO));
  lose();
  turn();
  recorder->try_again();
  recorder->try_again();
  turn();
  EXPECT_EQ(store->calls(Call::kRecord), 2u);
  EXPECT_FALSE(recorder->is_unrecorded());
  pass(std::chrono::hours(1));
  EXPECT_EQ(store->calls(Call::kRecord), 2u) << "the timer is gone";
}

TEST_F(LossRecorderTest, OnceStoppedItTriesNoMoreByItself) {
  store->fail_next(Call::kRecord, system_error(EIO));
  lose();
  turn();
  recorder->stop();
  pass(std::chrono::hours(1));
  EXPECT_EQ(store->calls(Call::kRecord), 1u);
  EXPECT_TRUE(recorder->is_unrecorded());
}

}  // namespace
}  // namespace lunar::osd
