// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/payload_pull.h"

#include <algorithm>
#include <chrono>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/log.h"
#include "msgr/errors.h"
#include "tracing/tracepoints.h"

namespace lunar::osd {

void OneSidedCounters::count(PullFault fault) noexcept {
  switch (fault) {
    case PullFault::kNone:
      return;
    case PullFault::kStale:
      return pull_stale.add();
    case PullFault::kLeaseOver:
      return pull_lease_over.add();
    case PullFault::kFailed:
      return pull_failed.add();
    case PullFault::kDamaged:
      return pull_damaged.add();
    case PullFault::kNoMemory:
      return pull_no_memory.add();
    case PullFault::kGivenUp:
      return pull_given_up.add();
  }
}

// --- PayloadPull ---

PayloadPull::~PayloadPull() {
  LUNAR_CHECK(fragments_.empty(), "a pull is destroyed while READs are under way");
}

PullFault PayloadPull::check(const msgr::RegisteredBuffer& buffer) const {
  if (op_.is_given_up) return PullFault::kGivenUp;
  if (!buffer.is_registered()) return PullFault::kNoMemory;
  if (!op_.may_use_keys(delivery_.link_generation)) return PullFault::kStale;
  return op_.lease_is_over(std::chrono::steady_clock::now()) ? PullFault::kLeaseOver
                                                             : PullFault::kNone;
}

uint32_t PayloadPull::length_of(uint32_t fragment) const noexcept {
  return static_cast<uint32_t>(
      std::min<uint64_t>(delivery_.fragment_bytes, delivery_.bytes() - offset_of(fragment)));
}

void PayloadPull::pull(uint32_t number, const msgr::RegisteredBuffer& buffer, uint32_t offset,
                       Done done) {
  const uint64_t begin = offset_of(number);
  const uint32_t length = length_of(number);
  Fragment& fragment = fragments_[number];
  fragment.buffer = &buffer;
  fragment.offset = offset;
  fragment.done = std::move(done);
  fragment.reads = 1;  // ours, so that it does not end below
  LUNAR_TRACE(lunar_osd, pull_start, op_.io_id(), op_.header.tid, op_.header.attempt, number, begin,
              uint64_t{length});
  const auto memory = op_.client_memory.lock();
  const uint32_t at_once = memory == nullptr ? 0 : memory->link_capabilities().max_fragment_bytes;
  if (at_once == 0) {
    fragment.fault = PullFault::kStale;
  } else {
    for (const auto& piece : objecter::cut_delivery(delivery_, begin, length, at_once)) {
      ++fragment.reads;
      const auto at = static_cast<uint32_t>(offset + (piece.offset - begin));
      memory->remote_read(piece.key, {&buffer, at, piece.length},
                          [this, number](std::error_code error) { read_done(number, error); });
    }
  }
  env_.center.post([this, number] { read_done(number, {}); });
}

void PayloadPull::read_done(uint32_t number, std::error_code error) {
  Fragment& fragment = fragments_.at(number);
  if (error) {
    LUNAR_LOG(kOsd, 5, "tid {}: fragment {} cannot be pulled: {}", op_.header.tid, number,
              error.message());
    fragment.fault = error == msgr::MsgrErrc::kStaleKey ? PullFault::kStale : PullFault::kFailed;
  }
  if (--fragment.reads > 0) return;
  auto ended = fragments_.extract(number);
  PullFault fault = ended.mapped().fault;
  if (fault == PullFault::kNone) fault = verify(number, ended.mapped());
  const uint64_t length = length_of(number);
  LUNAR_TRACE(lunar_osd, pull_done, op_.io_id(), op_.header.tid, op_.header.attempt, number, length,
              static_cast<int32_t>(fault));
  if (fault == PullFault::kNone) {
    env_.one_sided.pulls.add();
    env_.one_sided.pull_bytes.add(length);
    bytes_pulled_ += length;
  }
  ended.mapped().done(fault);  // may destroy this
}

PullFault PayloadPull::verify(uint32_t number, const Fragment& fragment) const {
  if (!delivery_.has_crc) return PullFault::kNone;
  const ConstBytes bytes = fragment.buffer->bytes().subspan(fragment.offset, length_of(number));
  if (crc32c(0, bytes) == delivery_.crcs[number]) return PullFault::kNone;
  LUNAR_LOG(kOsd, 0, "{} tid {}: fragment {} was damaged on its way",
            op_.client ? op_.client->to_string() : "-", op_.header.tid, number);
  return PullFault::kDamaged;
}

// --- PulledWrite ---

bool PulledWrite::take_buffers() {
  const std::size_t wanted = std::min<std::size_t>(kSlots, pull_.fragments());
  while (slots_.size() < wanted) {
    msgr::RegisteredBuffer slot = env_.store.buffers().allocate(pull_.length_of(0));
    if (!slot) break;
    slots_.push_back(std::move(slot));
  }
  is_ready_.assign(slots_.size(), false);
  return !slots_.empty();
}

void PulledWrite::start() {
  if (const PullFault fault = pull_.check(slots_.front()); fault != PullFault::kNone) {
    stop(OsdErrc::kRetryInline, fault);
    return end_if_idle();
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
               [this, fragment](PullFault fault) { pulled(fragment, fault); });
  }
}

void PulledWrite::pulled(uint32_t fragment, PullFault fault) {
  if (fault != PullFault::kNone)
    stop(OsdErrc::kRetryInline, fault);
  else
    is_ready_[slot_of(fragment)] = true;
  store_next();
}

// The store takes one change of an object at a time.
void PulledWrite::store_next() {
  const bool is_next_here = next_store_ < next_pull_ && is_ready_[slot_of(next_store_)];
  if (is_stopped_ || is_storing_ || !is_next_here) return end_if_idle();
  is_storing_ = true;
  if (before_store_) std::exchange(before_store_, {})();
  const SubOp& step = op_.header.steps.front();
  const ConstBytes bytes = slots_[slot_of(next_store_)].bytes().first(pull_.length_of(next_store_));
  env_.store.write(op_.object, step.offset + pull_.offset_of(next_store_), bytes,
                   (step.flags & objecter::kFua) != 0,
                   [this](std::error_code error) { stored(error); });
}

void PulledWrite::stored(std::error_code error) {
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

void PulledWrite::end_if_idle() {
  if (is_storing_ || pull_.under_way() > 0) return;
  if (!is_stopped_ && next_store_ < pull_.fragments()) return;
  if (error_ == OsdErrc::kOk) env_.one_sided.pulled_ops.add();
  auto done = std::move(done_);  // it may destroy this
  done(error_);
}

}  // namespace lunar::osd
