// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "osd/ops/changing_steps.h"
#include "osd/ops/pulled_payload.h"
#include "osd/ops/reading_steps.h"
#include "osd/ops/step_cursor.h"
#include "osd/ops/vector_run.h"

namespace lunar::osd {

// One vector of steps, from its first to its reply, on an object that nobody else touches
// meanwhile (readers share it with readers). First a payload that has to be pulled; then the steps
// that check and return, in order; then those that change. If the store fails in the middle of the
// changes of a data object, what was done stays done, the result says which steps, and the object
// has a new version all the same. A store that has vectors is given all steps at once instead.
// Loop-bound. The executor owns it until `done` ran.
class OpRun {
 public:
  using Done = InlineFunction<void(OpResultRef)>;
  OpRun(const OpEnvironment& environment, ClientOpRef op);
  OpRun(const OpRun&) = delete;
  OpRun& operator=(const OpRun&) = delete;

  // Takes the buffers that it needs. False if the pool has not enough of them: nothing is held,
  // call again later. After the time of OpLimits it is true without them, and start() ends the op
  // with kRetryInline: the pool may have none of that size at all, or payloads of ops behind this
  // one may hold them.
  bool take_buffers();
  // Begins. `done` runs once, later, as the last thing the run does, which it may destroy.
  void start(Done done);

  // For the parts of the run.
  void next();                    // begins the step that the cursor is at
  void step_done(OsdErrc error);  // the step in progress has ended
  void finish(OsdErrc error);     // so has the vector
  void reply();                   // and what is recorded beside it is recorded

 private:
  OsdErrc refusal() const;
  void find_object();
  void execute();
  void refuse(OsdErrc error);
  bool gives_up_waiting();

  StepCursor cursor_;
  ReadingSteps reads_;
  ChangingSteps changes_;
  PulledPayload payload_;
  VectorRun vector_;
  Done done_;                    // empty before start()
  bool is_in_start_ = false;     // of the caller: a reply has to wait until it returns
  bool has_no_buffers_ = false;  // none came free in time
};

}  // namespace lunar::osd
