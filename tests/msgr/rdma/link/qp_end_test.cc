// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/qp_end.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/support/manual_clock.h"

namespace lunar::msgr::rdma {
namespace {

using namespace std::chrono_literals;

class QpEndTest : public testing::Test, public QpEnd::Steps {
 protected:
  static constexpr std::chrono::seconds kDrainTimeout{2};

  QpEndTest() {
    EventCenter::Options options;
    options.time = &time_;
    center_ = std::move(*EventCenter::create(std::move(options)));
    make(nullptr);
  }
  // The end of another QP, which is in RTS.
  void make(LastWqe* last_wqe) {
    life_ = QpLife();
    for (const QpState state : {QpState::kInit, QpState::kReadyToReceive, QpState::kReadyToSend}) {
      life_.enter(state);
    }
    end_ = std::make_unique<QpEnd>(*center_, *this, life_, last_wqe, kDrainTimeout);
  }
  void pass(std::chrono::nanoseconds time) {
    time_.advance(time);
    center_->run_until_idle();
  }
  // To where only the beacons are awaited.
  void begin_draining() {
    end_->begin();
    end_->check_farewell(true);
    end_->on_stopped({});
    ASSERT_EQ(end_->state(), QpState::kDraining);
  }

  bool is_device_gone() const noexcept override { return is_gone_; }
  bool post_farewell() override { return did("farewell"), can_send_; }
  int post_receive_beacon() override { return did("receive_beacon"), receive_beacons_; }
  int post_send_beacon() override { return did("send_beacon"), 1; }
  void stop_qp() override { did("stop"); }
  void destroy_qp() override { did("destroy"); }
  void did(const std::string& step) { steps_ += steps_.empty() ? step : " " + step; }

  test::ManualClock time_;
  std::unique_ptr<EventCenter> center_;
  QpLife life_;
  std::string steps_;
  bool is_gone_ = false;
  bool can_send_ = true;
  int receive_beacons_ = 0;
  LastWqe last_wqe_;
  std::unique_ptr<QpEnd> end_;
};

TEST_F(QpEndTest, LeavesStopsDrainsAndIsDestroyed) {
  receive_beacons_ = 1;
  end_->begin();
  EXPECT_EQ(end_->state(), QpState::kLeaving);
  end_->check_farewell(false);
  EXPECT_EQ(end_->state(), QpState::kLeaving);
  end_->check_farewell(true);
  EXPECT_EQ(end_->state(), QpState::kStopping);
  end_->on_beacon();  // rxe flushes receives on the way to ERR
  EXPECT_EQ(end_->state(), QpState::kStopping);
  end_->on_stopped({});
  EXPECT_EQ(end_->state(), QpState::kDraining);
  end_->on_beacon();
  EXPECT_EQ(end_->state(), QpState::kDrained);
  EXPECT_FALSE(end_->is_destroyed());
  end_->on_destroyed();
  EXPECT_TRUE(end_->is_destroyed());
  EXPECT_EQ(end_->state(), QpState::kDestroyed);
  EXPECT_EQ(steps_, "farewell receive_beacon stop send_beacon destroy");
}

TEST_F(QpEndTest, SaysNoFarewellToAPeerThatLeft) {
  end_->note_peer_left();
  end_->begin();
  EXPECT_EQ(steps_, "receive_beacon stop");
}

TEST_F(QpEndTest, SaysNoFarewellOnAQpThatFailedOrADeviceThatIsGone) {
  end_->note_failure();
  end_->begin();
  EXPECT_EQ(steps_, "receive_beacon stop");
  steps_.clear();
  is_gone_ = true;
  make(nullptr);
  end_->begin();
  EXPECT_EQ(steps_, "receive_beacon stop");
  end_->on_stopped({});
  EXPECT_EQ(steps_, "receive_beacon stop destroy") << "no completion comes from it";
}

TEST_F(QpEndTest, AFarewellThatCannotBePostedIsNotAwaited) {
  can_send_ = false;
  end_->begin();
  EXPECT_EQ(end_->state(), QpState::kStopping);
}

TEST_F(QpEndTest, AQpThatFailsWhileItLeavesIsStopped) {
  end_->begin();
  end_->note_failure();
  end_->check_farewell(false);
  EXPECT_EQ(end_->state(), QpState::kStopping);
  end_->check_farewell(true);
  EXPECT_EQ(steps_, "farewell receive_beacon stop") << "once";
}

TEST_F(QpEndTest, EachWaitIsBounded) {
  end_->begin();
  pass(kDrainTimeout);
  EXPECT_EQ(end_->state(), QpState::kStopping);
  end_->on_stopped({});
  pass(kDrainTimeout);
  EXPECT_EQ(end_->state(), QpState::kDrained);
}

TEST_F(QpEndTest, AQpThatDoesNotGetToErrIsDestroyedAtOnce) {
  end_->begin();
  end_->check_farewell(true);
  end_->on_stopped(std::make_error_code(std::errc::io_error));
  EXPECT_EQ(end_->state(), QpState::kDrained);
}

TEST_F(QpEndTest, WithAnSrqTheLastWqeIsAwaited) {
  make(&last_wqe_);
  last_wqe_.on_reached();  // of another QP: the device is known to tell
  begin_draining();
  end_->on_beacon();
  pass(1s);
  EXPECT_EQ(end_->state(), QpState::kDraining);
  end_->on_last_wqe();
  EXPECT_EQ(end_->state(), QpState::kDrained);
}

TEST_F(QpEndTest, ADeviceThatHasNotToldYetIsGivenAMoment) {
  make(&last_wqe_);
  begin_draining();
  end_->on_beacon();
  EXPECT_EQ(end_->state(), QpState::kDraining);
  pass(100ms);
  EXPECT_EQ(end_->state(), QpState::kDrained);
  EXPECT_TRUE(last_wqe_.is_worth_waiting()) << "missed once";
}

TEST_F(QpEndTest, ADeviceThatNeverTellsIsNotAsked) {
  for (int i = 0; i < 3; ++i) last_wqe_.on_missed();
  EXPECT_FALSE(last_wqe_.is_worth_waiting());
  make(&last_wqe_);
  begin_draining();
  end_->on_beacon();
  EXPECT_EQ(end_->state(), QpState::kDrained);
  last_wqe_.on_reached();
  EXPECT_TRUE(last_wqe_.is_worth_waiting()) << "it does after all";
}

TEST_F(QpEndTest, SkippedThereIsNothingLeftToDo) {
  end_->begin();
  end_->skip();
  EXPECT_TRUE(end_->is_destroyed());
  end_->check_farewell(true);
  pass(kDrainTimeout);
  EXPECT_EQ(steps_, "farewell");
}

}  // namespace
}  // namespace lunar::msgr::rdma
