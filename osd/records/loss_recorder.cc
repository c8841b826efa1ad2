// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/loss_recorder.h"

#include <chrono>
#include <utility>

#include "common/log.h"

namespace lunar::osd {
namespace {
constexpr std::chrono::seconds kRecordAgain{1};
}  // namespace

void LossRecorder::record() {
  ++recording_;
  table_.save([this](std::error_code error) {
    --recording_;
    on_recorded(error);
    if (recording_ > 0) return;
    for (auto& done : std::exchange(waiting_, {})) done();
  });
}

void LossRecorder::on_recorded(std::error_code error) {
  is_unrecorded_ = static_cast<bool>(error);
  if (error) {
    LUNAR_ERROR(kOsd,
                "lost writes cannot be recorded ({}): no write is acknowledged and no flush "
                "succeeds until they are; see to the disk of the store",
                error.message());
    if (retry_ != msgr::TimerId::kNone || is_stopped_) return;
    retry_ = center_.run_after(kRecordAgain, [this] {
      retry_ = msgr::TimerId::kNone;
      try_again();
    });
    return;
  }
  center_.cancel(std::exchange(retry_, msgr::TimerId::kNone));
  if (recording_ > 0) return;  // a later loss is not in the record yet
  durability_.acknowledge_loss([](std::error_code failed) {
    if (failed) LUNAR_ERROR(kOsd, "cannot acknowledge a loss: {}", failed.message());
  });
}

void LossRecorder::try_again() {
  if (is_unrecorded_ && recording_ == 0) record();
}

void LossRecorder::stop() {
  is_stopped_ = true;
  center_.cancel(std::exchange(retry_, msgr::TimerId::kNone));
}

}  // namespace lunar::osd
