// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/recorder.h"

#include <utility>

#include "tests/history/block_content.h"

namespace lunar::iscsi_load {

using test::HistoryCommand;
using test::HistoryOutcome;

RecordedOutcome recorded_outcome(const test::HistoryOp& op, const Completion& completion) {
  constexpr uint8_t kWriteErrorCode = 0x0c;
  if (completion.end == End::kConnectionLost) return {HistoryOutcome::kUnknown, false};
  if (completion.end == End::kAborted) return {HistoryOutcome::kUnknown};
  if (completion.is_good()) return {HistoryOutcome::kGood};
  if (op.command == HistoryCommand::kCompareAndWrite && completion.is_sense(kMiscompare)) {
    return {HistoryOutcome::kMiscompare};
  }
  if (op.command == HistoryCommand::kFlush && completion.is_sense(kMediumError) &&
      completion.sense.asc == kWriteErrorCode) {
    return {HistoryOutcome::kReportedLost};
  }
  constexpr uint8_t kSpaceAllocationFailed = 0x07;  // 27/07: a WRITE may have been done in part
  const bool is_protected =
      completion.is_sense(kDataProtect) && completion.sense.ascq != kSpaceAllocationFailed;
  const bool is_refused = completion.status == kBusy || completion.status == kTaskSetFull ||
                          completion.status == kReservationConflict ||
                          completion.is_sense(kUnitAttention) ||
                          completion.is_sense(kIllegalRequest) || is_protected;
  // A command that was answered is over, whatever the answer.
  return {is_refused ? HistoryOutcome::kFailed : HistoryOutcome::kUnknown};
}

Recorder::Handle Recorder::begin(const test::HistoryOp& op) { return log_.invoke(client_, op); }

void Recorder::end(Handle handle, const test::HistoryOp& op, const Command& command,
                   const Completion& completion, const void* session) {
  RecordedOutcome end = recorded_outcome(op, completion);
  std::vector<test::ContentId> read;
  if (op.command == HistoryCommand::kRead && end.outcome == HistoryOutcome::kGood) {
    if (completion.transferred == command.data->size()) {
      read = contents(op.lba, *command.data);
    } else {
      end.outcome = HistoryOutcome::kFailed;
      log_.note("a READ was GOOD and short");
    }
  }
  ++outcomes_[static_cast<size_t>(end.outcome)];
  log_.complete(handle, end.outcome, read);
  if (end.outcome != HistoryOutcome::kUnknown) return;
  if (end.is_over) {
    log_.close_window(handle);
  } else {
    lost_[session].push_back(handle);
  }
}

void Recorder::logged_in(const void* session) {
  for (const Handle handle : std::exchange(lost_[session], {})) log_.close_window(handle);
}

std::vector<test::ContentId> Recorder::contents(uint64_t lba, const Buffer& buffer) const {
  std::vector<test::ContentId> ids;
  for (size_t at = 0; at < buffer.size(); at += block_bytes_, ++lba) {
    ids.push_back(test::parse_block(buffer.span().subspan(at, block_bytes_), lba).content);
  }
  return ids;
}

}  // namespace lunar::iscsi_load
