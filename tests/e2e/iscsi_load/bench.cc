// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/bench.h"

#include <algorithm>
#include <utility>

#include "tests/e2e/iscsi_load/pattern.h"

namespace lunar::iscsi_load {

BenchRun::BenchRun(PollLoop& loop, Lun& lun, BenchOptions options)
    : loop_(loop), lun_(lun), options_(options), random_(options.seed) {}

void BenchRun::start(std::function<void()> done) {
  done_ = std::move(done);
  const Geometry& geometry = lun_.geometry();
  uint64_t lun_bytes = geometry.num_blocks * geometry.block_bytes;
  uint64_t span = options_.span_bytes == 0 ? lun_bytes : std::min(lun_bytes, options_.span_bytes);
  num_positions_ = span / options_.op_bytes;
  if (options_.op_bytes % geometry.block_bytes != 0 || num_positions_ == 0) {
    report_.problem = "the size does not fit the LUN's blocks or its length";
    return loop_.call_at(Clock::now(), [this] { done_(); });
  }
  Pattern pattern(options_.seed, geometry.block_bytes);
  slots_.resize(options_.depth);
  counting_from_ = Clock::now();
  if (options_.num_ops == 0) counting_from_ += options_.warm_up;
  counting_until_ = counting_from_ + options_.duration;
  for (Slot& slot : slots_) {
    slot.buffer = std::make_shared<Buffer>(options_.op_bytes);
    pattern.fill(0, 1, slot.buffer->span());
  }
  loop_.call_at(Clock::now(), [this] { issue_all(); });
}

void BenchRun::issue_all() {
  for (Slot& slot : slots_) issue(slot);
}

uint64_t BenchRun::next_lba() {
  uint64_t position = options_.is_random ? random_() : next_position_++;
  return position % num_positions_ * (options_.op_bytes / lun_.geometry().block_bytes);
}

bool BenchRun::is_time_up(Clock::time_point now) const {
  if (!report_.problem.empty()) return true;
  if (options_.num_ops > 0) return num_issued_ >= options_.num_ops;
  return now >= counting_until_;
}

void BenchRun::issue(Slot& slot) {
  slot.submitted = Clock::now();
  const bool is_flush_due = options_.flush_every > 0 && num_unflushed_ == options_.flush_every;
  if (is_time_up(slot.submitted) || is_flush_due) return;
  ++num_issued_;
  ++num_unflushed_;
  ++num_in_flight_;
  auto num_blocks = static_cast<uint32_t>(options_.op_bytes / lun_.geometry().block_bytes);
  uint64_t lba = next_lba();
  Command command = options_.is_write ? write16(lba, num_blocks, slot.buffer, {})
                                      : read16(lba, num_blocks, slot.buffer, {});
  lun_.submit(std::move(command),
              [this, &slot](const FinalCompletion& result) { answered(slot, result); });
}

// Throughput and latency are of the operations that ended within the counting time.
void BenchRun::answered(Slot& slot, const FinalCompletion& result) {
  --num_in_flight_;
  auto now = Clock::now();
  if (!result.last.is_good()) {
    if (report_.problem.empty()) report_.problem = result.last.to_string();
  } else if (now >= counting_from_ && (options_.num_ops > 0 || now < counting_until_)) {
    ++report_.ops;
    report_.bytes += options_.op_bytes;
    report_.latency.record(now - slot.submitted);
    last_counted_ = now;
  }
  issue(slot);
  if (num_in_flight_ > 0) return;
  if (options_.flush_every > 0) return flush();
  end();
}

void BenchRun::flush() {
  lun_.submit(synchronize_cache16(0, 0), [this](const FinalCompletion& result) {
    if (!result.last.is_good() && report_.problem.empty())
      report_.problem = result.last.to_string();
    last_counted_ = Clock::now();
    num_unflushed_ = 0;
    issue_all();
    if (num_in_flight_ == 0) end();
  });
}

void BenchRun::end() {
  auto until = options_.num_ops > 0 ? last_counted_ : counting_until_;
  report_.seconds = std::chrono::duration<double>(until - counting_from_).count();
  if (report_.ops == 0 && report_.problem.empty()) report_.problem = "nothing ended in time";
  if (auto done = std::exchange(done_, nullptr)) done();
}

}  // namespace lunar::iscsi_load
