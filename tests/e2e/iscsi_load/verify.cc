// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/verify.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lunar::iscsi_load {
namespace {

constexpr uint64_t kReadBackBytes = 1 << 20;
constexpr uint8_t kInvalidCommandOperationCode = 0x20;

std::string describe(const Op& op) {
  return std::string(name_of(op.kind)) + " of " + std::to_string(op.range.num_blocks) +
         " blocks at lba " + std::to_string(op.range.lba);
}

// The advertised limit if there is one, but never more than this program asks for.
uint64_t limited(uint64_t wanted, uint64_t advertised) {
  return advertised == 0 ? wanted : std::min(wanted, advertised);
}

}  // namespace

VerifyRun::VerifyRun(PollLoop& loop, Lun& lun, VerifyOptions options)
    : loop_(loop), lun_(lun), options_(std::move(options)) {}

void VerifyRun::start(std::function<void()> done) {
  done_ = std::move(done);
  started_ = Clock::now();
  if (!set_up()) return loop_.call_at(Clock::now(), [this] { finish(); });
  loop_.call_at(Clock::now(), [this] { pump(); });
}

bool VerifyRun::set_up() {
  const Geometry& geometry = lun_.geometry();
  uint32_t block_bytes = geometry.block_bytes;
  Content initial = options_.initially_anything ? kAnything : kZeroes;
  verifier_.emplace(Pattern(options_.seed, block_bytes), geometry.num_blocks, initial);
  if (!options_.load_state.empty()) {
    std::string problem = verifier_->load(options_.load_state);
    if (!problem.empty()) return stop(Verdict::kUnusable, problem), false;
  }
  WorkloadOptions workload;
  workload.seed = options_.seed;
  workload.read_percent = options_.read_percent;
  workload.span.lba = options_.span_offset_bytes / block_bytes;
  if (workload.span.lba >= geometry.num_blocks) {
    return stop(Verdict::kUnusable, "the offset lies beyond the LUN's end"), false;
  }
  uint64_t room = geometry.num_blocks - workload.span.lba;
  workload.span.num_blocks = limited(room, options_.span_bytes / block_bytes);
  workload.boundary_blocks = std::max<uint64_t>(options_.boundary_bytes / block_bytes, 1);
  limit_to_geometry(workload);
  for (const std::string& name : options_.required) {
    bool is_left_out = (name == "unmap" && workload.max_unmap_blocks == 0) ||
                       (name == "compare_and_write" && workload.max_compare_and_write_blocks == 0);
    if (is_left_out) return stop(Verdict::kUnsupported, "the LUN does not offer " + name), false;
  }
  workload_.emplace(workload);
  return true;
}

void VerifyRun::limit_to_geometry(WorkloadOptions& workload) const {
  const Geometry& geometry = lun_.geometry();
  uint64_t max_blocks = std::max<uint64_t>(options_.max_op_bytes / geometry.block_bytes, 1);
  workload.max_op_blocks = limited(max_blocks, geometry.max_transfer_blocks);
  if (!options_.full_mix) return;
  workload.sync_and_fua = true;
  workload.max_write_same_blocks = limited(max_blocks, geometry.max_write_same_blocks);
  workload.max_compare_and_write_blocks = geometry.max_compare_and_write_blocks;
  if (geometry.unmapped_reads_zero) {
    workload.write_same_unmap = geometry.has_write_same_unmap;
    if (geometry.has_unmap) {
      workload.max_unmap_blocks = limited(2 * max_blocks, geometry.max_unmap_blocks);
    }
  }
}

void VerifyRun::pump() {
  if (is_final_pass_) return pump_final_pass();
  while (!stopping_ && in_flight_.size() < options_.depth && issue_next()) {
  }
  if (!in_flight_.empty()) return;
  if (stopping_) return finish();
  begin_final_pass();
}

// False if nothing more can be issued now.
bool VerifyRun::issue_next() {
  if (!held_back_) {
    if (bytes_issued_ >= options_.total_bytes) return false;
    held_back_ = workload_->next();
    if (report_.unsupported.contains(held_back_->kind)) held_back_->kind = OpKind::kRead;
    if (held_back_->range.num_blocks == 0 && held_back_->kind == OpKind::kRead) {
      held_back_.reset();  // was a SYNCHRONIZE CACHE, which the target does not know
      return true;
    }
  }
  bool overlaps = std::any_of(in_flight_.begin(), in_flight_.end(), [&](const InFlight& other) {
    return other.op.range.overlaps(held_back_->range);
  });
  if (overlaps) return false;
  Op op = *held_back_;
  held_back_.reset();
  issue(op);
  return true;
}

void VerifyRun::issue(const Op& op) {
  uint32_t block_bytes = lun_.geometry().block_bytes;
  auto num_blocks = static_cast<uint32_t>(op.range.num_blocks);
  switch (op.kind) {
    case OpKind::kRead: {
      auto buffer = std::make_shared<Buffer>(op.range.num_blocks * block_bytes);
      bytes_issued_ += buffer->size();
      report_.bytes_read += buffer->size();
      return submit(op, read16(op.range.lba, num_blocks, buffer, {.fua = op.fua}));
    }
    case OpKind::kWrite: {
      auto buffer = std::make_shared<Buffer>(op.range.num_blocks * block_bytes);
      verifier_->pattern().fill(op.range.lba, op.content, buffer->span());
      bytes_issued_ += buffer->size();
      report_.bytes_written += buffer->size();
      return submit(op, write16(op.range.lba, num_blocks, buffer, {.fua = op.fua}));
    }
    case OpKind::kUnmap: {
      UnmapRange range{op.range.lba, num_blocks};
      return submit(op, unmap({&range, 1}));
    }
    case OpKind::kWriteSame: {
      auto block = std::make_shared<Buffer>(block_bytes);
      verifier_->pattern().fill(op.range.lba, op.content, block->span());
      return submit(op, write_same16(op.range.lba, num_blocks, block, op.unmap));
    }
    case OpKind::kCompareAndWrite:
      return issue_compare_and_write(op);
    case OpKind::kSync:
      return submit(op, synchronize_cache16(0, 0));
  }
}

void VerifyRun::issue_compare_and_write(const Op& op) {
  auto held = verifier_->known_contents(op.range);
  if (!held) {  // first find out what is there
    Op read = op;
    read.kind = OpKind::kRead;
    return issue(read);
  }
  const Pattern& pattern = verifier_->pattern();
  size_t block_bytes = pattern.block_bytes();
  auto buffer = std::make_shared<Buffer>(2 * op.range.num_blocks * block_bytes);
  for (size_t i = 0; i < held->size(); ++i) {
    pattern.fill(op.range.lba + i, (*held)[i],
                 buffer->span().subspan(i * block_bytes, block_bytes));
  }
  pattern.fill(op.range.lba, op.content, buffer->span().subspan(buffer->size() / 2));
  if (op.miscompare) {
    size_t at = (op.content * 97) % (buffer->size() / 2);
    buffer->data()[at] ^= std::byte{0x40};
  }
  bytes_issued_ += buffer->size();
  report_.bytes_written += buffer->size() / 2;
  submit(op, compare_and_write(op.range.lba, static_cast<uint8_t>(op.range.num_blocks), buffer,
                               {.fua = op.fua}));
}

void VerifyRun::submit(Op op, Command command) {
  ++report_.ops[static_cast<size_t>(op.kind)];
  bool keeps_buffer = op.kind == OpKind::kRead;
  auto position = in_flight_.insert(in_flight_.end(), {op, keeps_buffer ? command.data : nullptr});
  lun_.submit(std::move(command),
              [this, position](const FinalCompletion& result) { answered(position, result); });
}

void VerifyRun::answered(Position position, const FinalCompletion& result) {
  InFlight done = std::move(*position);
  in_flight_.erase(position);
  const Op& op = done.op;
  if (op.kind == OpKind::kCompareAndWrite) {
    compare_and_write_answered(op, result);
  } else if (!result.last.is_good() && is_unsupported(op, result.last)) {
    // Not an error: the mix goes on without it.
  } else if (op.kind != OpKind::kRead) {
    take_effect(op, result);
  } else if (!result.last.is_good()) {
    failed(op, result.last);
  } else if (result.last.transferred != done.buffer->size()) {
    stop(Verdict::kMismatch,
         describe(op) + ": short, only " + std::to_string(result.last.transferred) + " bytes came");
  } else {
    check(op.range, *done.buffer);
  }
  pump();
}

void VerifyRun::take_effect(const Op& op, const FinalCompletion& result) {
  if (result.last.is_good()) {
    if (op.kind != OpKind::kSync) verifier_->wrote(op.range, op.content);
    return;
  }
  if (op.kind != OpKind::kSync && result.has_unknown_attempt) {
    verifier_->may_have_written(op.range, op.content);
  }
  failed(op, result.last);
}

void VerifyRun::compare_and_write_answered(const Op& op, const FinalCompletion& result) {
  bool is_miscompare = result.last.is_sense(kMiscompare);
  if (result.last.is_good()) {
    if (op.miscompare)
      return stop(Verdict::kMismatch, describe(op) + ": wrote despite a difference");
    return verifier_->wrote(op.range, op.content);
  }
  if (op.miscompare && is_miscompare) return;
  if (!is_miscompare && is_unsupported(op, result.last)) return;
  if (!is_miscompare) {
    if (result.has_unknown_attempt) verifier_->may_have_written(op.range, op.content);
    return failed(op, result.last);
  }
  // An attempt without an answer may have succeeded, so that the next one miscompared with it.
  if (result.has_unknown_attempt) return verifier_->may_have_written(op.range, op.content);
  stop(Verdict::kMismatch, describe(op) + ": miscompares with what must be there");
}

bool VerifyRun::is_unsupported(const Op& op, const Completion& completion) {
  if (op.kind == OpKind::kRead || op.kind == OpKind::kWrite) return false;
  if (!completion.is_sense(kIllegalRequest)) return false;
  if (completion.sense.asc != kInvalidCommandOperationCode) return false;
  report_.unsupported.insert(op.kind);
  if (options_.required.contains(name_of(op.kind))) {
    stop(Verdict::kUnsupported, std::string("the LUN refuses ") + name_of(op.kind));
  }
  return true;
}

void VerifyRun::failed(const Op& op, const Completion& completion) {
  ++report_.failed_ops;
  if (!options_.tolerate_failures) {
    return stop(Verdict::kCommandFailed, describe(op) + ": " + completion.to_string());
  }
  if (report_.problem.empty()) report_.problem = describe(op) + ": " + completion.to_string();
}

void VerifyRun::check(const BlockRange& range, const Buffer& buffer) {
  auto mismatch = verifier_->check_read(range, buffer.span());
  if (mismatch) stop(Verdict::kMismatch, mismatch->to_string());
}

// Operations in flight still end, but only the first problem is kept.
void VerifyRun::stop(Verdict verdict, std::string problem) {
  if (report_.verdict == Verdict::kClean) {
    report_.verdict = verdict;
    report_.problem = std::move(problem);
  }
  stopping_ = true;
}

void VerifyRun::begin_final_pass() {
  report_.uncertain_blocks = verifier_->num_uncertain();
  if (!options_.final_pass) return finish();
  is_final_pass_ = true;
  read_back_ = verifier_->touched(kReadBackBytes / lun_.geometry().block_bytes);
  pump_final_pass();
}

void VerifyRun::pump_final_pass() {
  while (!stopping_ && in_flight_.size() < options_.depth && next_read_back_ < read_back_.size()) {
    BlockRange range = read_back_[next_read_back_++];
    auto buffer = std::make_shared<Buffer>(range.num_blocks * lun_.geometry().block_bytes);
    report_.bytes_read_back += buffer->size();
    Op op{.kind = OpKind::kRead, .range = range};
    submit(op, read16(range.lba, static_cast<uint32_t>(range.num_blocks), buffer, {}));
  }
  if (in_flight_.empty()) finish();
}

void VerifyRun::finish() {
  report_.seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  if (!options_.save_state.empty() && report_.verdict != Verdict::kUnusable) {
    std::string problem = verifier_->save(options_.save_state);
    if (!problem.empty()) stop(Verdict::kUnusable, problem);
  }
  if (auto done = std::exchange(done_, nullptr)) done();
}

}  // namespace lunar::iscsi_load
