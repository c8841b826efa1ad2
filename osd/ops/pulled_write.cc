// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/pulled_write.h"

#include <algorithm>

namespace lunar::osd {

bool PulledWrite::take_buffers() {
  const std::size_t wanted = std::min<std::size_t>(kSlots, pull_.fragments());
  while (slots_.size() < wanted) {
    msgr::RegisteredBuffer slot = env_.store.buffers.allocate(pull_.length_of(0));
    if (!slot) break;
    slots_.push_back(std::move(slot));
  }
  is_ready_.assign(slots_.size(), false);
  return !slots_.empty();
}

void PulledWrite::start() {
  if (const PullFault fault = pull_.check(slots_.front()); fault != PullFault::kNone) {
    stop(OsdErrc::kRetryInline, fault);
    return finish_if_idle();
  }
  pull_ahead();
}

void PulledWrite::pull_ahead() {
  // With all of it here it ends as if nobody had asked: whole.
  if (op_.is_given_up && next_pull_ < pull_.fragments())
    stop(OsdErrc::kRetryInline, PullFault::kGivenUp);
  while (!is_stopped_ && next_pull_ < pull_.fragments() &&
         next_pull_ - next_store_ < slots_.size()) {
    const uint32_t fragment = next_pull_++;
    pull_.pull(fragment, slots_[slot_of(fragment)], 0,
               [this, fragment](PullFault fault) { on_pulled(fragment, fault); });
  }
}

void PulledWrite::on_pulled(uint32_t fragment, PullFault fault) {
  if (fault != PullFault::kNone)
    stop(OsdErrc::kRetryInline, fault);
  else
    is_ready_[slot_of(fragment)] = true;
  store_next();
}

// The store takes one change of an object at a time.
void PulledWrite::store_next() {
  const bool is_next_here = next_store_ < next_pull_ && is_ready_[slot_of(next_store_)];
  if (is_stopped_ || is_storing_ || !is_next_here) return finish_if_idle();
  is_storing_ = true;
  if (before_store_) std::exchange(before_store_, {})();
  const SubOp& step = op_.header.steps.front();
  const ConstBytes bytes = slots_[slot_of(next_store_)].bytes().first(pull_.length_of(next_store_));
  env_.store.data.write(op_.object, step.offset + pull_.offset_of(next_store_), bytes,
                        (step.flags & objecter::kFua) != 0,
                        [this](std::error_code error) { on_stored(error); });
}

void PulledWrite::on_stored(std::error_code error) {
  is_storing_ = false;
  is_ready_[slot_of(next_store_)] = false;
  if (error) {
    stop(wire_error(error), PullFault::kNone);
  } else {
    ++next_store_;
    pull_ahead();
  }
  store_next();
}

void PulledWrite::stop(OsdErrc error, PullFault fault) {
  if (!is_stopped_) env_.one_sided.count(fault);
  if (error_ == OsdErrc::kOk || error_ == OsdErrc::kRetryInline) error_ = error;
  is_stopped_ = true;
}

void PulledWrite::finish_if_idle() {
  if (is_storing_ || pull_.under_way() > 0) return;
  if (!is_stopped_ && next_store_ < pull_.fragments()) return;
  if (error_ == OsdErrc::kOk) env_.one_sided.pulled_ops.add();
  auto done = std::move(done_);  // it may destroy this
  done(error_);
}

}  // namespace lunar::osd
