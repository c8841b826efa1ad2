// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "osd/ops/changing_steps.h"
#include "osd/ops/payload_pull.h"
#include "osd/ops/pulled_write.h"
#include "osd/ops/step_cursor.h"

namespace lunar::osd {

class OpRun;

// The payload of an op whose delivery descriptor says that the server pulls it: got before the
// first step. That of a single WRITE of a data object is stored while it is pulled, unless the
// store applies vectors whole; whatever else compares, replaces or combines is staged whole, so
// that nothing of it happens with half a payload. If the payload cannot be had the op ends with
// kRetryInline. Loop-bound. Owned by its OpRun. REQUIRES, but for bytes_pulled(): the op pulls.
class PulledPayload {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  PulledPayload(StepCursor& cursor, ChangingSteps& changes, OpRun& run) noexcept
      : cursor_(cursor), changes_(changes), run_(run) {}

  // Takes what buffers it needs. False if there are too few.
  bool take_buffers();
  // The op has waited for buffers for so long. True if it must wait no longer: it runs, and start()
  // ends it.
  bool gives_up_waiting(TimePoint now, std::chrono::nanoseconds waited);
  void start();

  uint64_t bytes_pulled() const noexcept;
  // The op has its result: gives the buffers back.
  void drop_buffers();

 private:
  void stage();
  void on_staged(PullFault fault);
  void give_up(PullFault fault);

  StepCursor& cursor_;
  ChangingSteps& changes_;
  OpRun& run_;
  PullFault fault_ = PullFault::kNone;  // the first one
  std::optional<PulledWrite> write_;    // a single WRITE of a data object
  std::optional<PayloadPull> pull_;     // anything else, into staging_
  msgr::RegisteredBuffer staging_;      // until all of it is there
};

}  // namespace lunar::osd
