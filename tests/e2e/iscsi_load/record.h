// SPDX-License-Identifier: LGPL-2.1-or-later
// The record mode: random commands on one LUN that overlap on purpose, all of them in a history.
// It judges nothing itself: history-check does. Bound to its PollLoop's thread; borrows the LUN.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/e2e/iscsi_load/lun.h"
#include "tests/e2e/iscsi_load/recorder.h"

namespace lunar::iscsi_load {

inline constexpr uint64_t kNoDiscard = ~uint64_t{0};

struct RecordOptions {
  std::string history;  // the file
  int client = 1;       // of 1 … 255; processes that record at the same time differ in it
  uint64_t seed = 1;
  std::chrono::milliseconds duration{0};  // of the random phase
  uint32_t depth = 8;
  uint64_t span_bytes = 8 << 20;      // from the LUN's beginning
  uint64_t max_op_bytes = 64 << 10;   // of READ and WRITE
  uint64_t boundary_bytes = 1 << 20;  // a third of the commands is near the first of them
  uint32_t flush_percent = 4;
  std::chrono::milliseconds reset_every{0};  // LUN RESET; 0: never
  bool discards = true;                      // UNMAPs are among the commands
  uint64_t discard_from_bytes = kNoDiscard;  // before all, the span is UNMAPped from here
  bool final_pass = true;                    // reads the whole span at the end
};

struct RecordReport {
  std::string problem;
  std::array<uint64_t, 8> commands{};  // by HistoryCommand
  uint64_t resets = 0;
  double seconds = 0;
};

class RecordRun {
 public:
  // `recorder` is the LUN's.
  RecordRun(PollLoop& loop, Lun& lun, Recorder& recorder, RecordOptions options);

  // REQUIRES: the LUN is open.
  void start(std::function<void()> done);
  const RecordReport& report() const { return report_; }

 private:
  uint64_t below(uint64_t limit) { return random_() % limit; }
  void pump();
  void issue();
  void issue_read(uint64_t lba, uint32_t num_blocks);
  void issue_write(test::HistoryOp op);
  void issue_compare_and_write(test::HistoryOp op);
  void issue_orwrite();
  void submit(test::HistoryOp op, Command command);
  void answered(const test::HistoryOp& op, const Command& command, const FinalCompletion& result);
  void reset_later();
  test::HistoryOp random_range(test::HistoryCommand command, uint64_t max_blocks);

  PollLoop& loop_;
  Lun& lun_;
  Recorder& recorder_;
  const RecordOptions options_;
  std::mt19937_64 random_;
  uint32_t block_bytes_ = 0;
  uint64_t num_blocks_ = 0;  // of the span
  uint64_t hot_lba_ = 0;
  uint64_t num_hot_blocks_ = 32;
  test::ContentId last_id_ = 0;
  std::unordered_map<uint64_t, test::ContentId>
      believed_;                        // by block: a guess for COMPARE AND WRITE
  std::set<uint64_t> unseen_orwrites_;  // blocks of which the last one was not read back
  uint64_t num_in_flight_ = 0;
  uint64_t next_discard_ = 0;
  uint64_t next_read_back_ = 0;
  Clock::time_point started_;
  std::function<void()> done_;
  std::shared_ptr<bool> is_alive_ = std::make_shared<bool>(true);
  RecordReport report_;
};

}  // namespace lunar::iscsi_load
