// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes every attempt of a command into a history, for history-check: what was asked, how it
// ended, and from when on it cannot take effect any more. Bound to its PollLoop's thread; borrows
// the log.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "tests/e2e/iscsi_load/scsi.h"
#include "tests/history/history_log.h"

namespace lunar::iscsi_load {

class Recorder {
 public:
  using Handle = test::HistoryLog::Handle;

  Recorder(test::HistoryLog& log, int client) : log_(log), client_(client) {}
  void set_block_bytes(uint32_t block_bytes) { block_bytes_ = block_bytes; }

  // An attempt is sent.
  Handle begin(const test::HistoryOp& op);
  // It has ended. `session` is any number that names the session that it was sent on. A READ's data
  // is in command.data.
  void end(Handle handle, const test::HistoryOp& op, const Command& command,
           const Completion& completion, const void* session);
  // The session is logged in again with its ISID: the target has ended what was left of it
  // (RFC 7143, 6.3.5).
  void logged_in(const void* session);

  const std::array<uint64_t, 5>& outcomes() const { return outcomes_; }  // by HistoryOutcome
  // The content of each block of a READ.
  std::vector<test::ContentId> contents(uint64_t lba, const Buffer& buffer) const;

 private:
  test::HistoryLog& log_;
  const int client_;
  uint32_t block_bytes_ = 512;
  std::map<const void*, std::vector<Handle>> lost_;  // by session: of lost connections
  std::array<uint64_t, 5> outcomes_{};
};

// What an answer says of a command. `is_over`: it cannot take effect any more.
struct RecordedOutcome {
  test::HistoryOutcome outcome;
  bool is_over = true;
};
RecordedOutcome recorded_outcome(const test::HistoryOp& op, const Completion& completion);

}  // namespace lunar::iscsi_load
