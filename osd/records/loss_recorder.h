// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <system_error>
#include <vector>

#include "common/inline_function.h"
#include "msgr/event_center.h"
#include "osd/durability.h"
#include "osd/records/loss_table.h"

namespace lunar::osd {

// Gets losses that happen while the server runs into the record of the LossTable, and lets the
// store forget them only then; a record that cannot be written is tried again, by a timer and when
// told to.
// Loop-bound. Borrows what it is made with. REQUIRES at destruction: the table is not busy.
class LossRecorder {
 public:
  LossRecorder(msgr::EventCenter& center, Durability& durability, LossTable& table)
      : center_(center), durability_(durability), table_(table) {}
  ~LossRecorder() { center_.cancel(retry_); }

  // The table has a new loss.
  void record();
  // Tries again if the last record could not be written and none is being written.
  void try_again();
  // The timer does not run any more.
  void stop();

  // A record of a loss is being written.
  bool is_recording() const noexcept { return recording_ > 0; }
  // The last record of a loss could not be written. Until one is, the marks and the store's own
  // record are all that says durably that writes are lost: no mark may be removed.
  bool is_unrecorded() const noexcept { return is_unrecorded_; }
  // `done` runs once no record of a loss is being written any more, whether that succeeded or not.
  // REQUIRES: is_recording().
  void wait(InlineFunction<void()> done) { waiting_.push_back(std::move(done)); }

 private:
  void on_recorded(std::error_code error);

  msgr::EventCenter& center_;
  Durability& durability_;
  LossTable& table_;
  bool is_unrecorded_ = false;
  bool is_stopped_ = false;
  msgr::TimerId retry_ = msgr::TimerId::kNone;  // runs while is_unrecorded_ and not is_stopped_
  std::size_t recording_ = 0;                   // losses whose record is being written
  std::vector<InlineFunction<void()>> waiting_;
};

}  // namespace lunar::osd
