// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/history/history.h"

namespace lunar::test {

// What a history is accused of.
enum class HistoryFault : uint8_t {
  kDamagedContent,       // a block was torn, or mixed from two writes
  kForeignContent,       // a block holds what nobody wrote to it
  kFailedTookEffect,     // what was refused, or miscompared, was written all the same
  kLateEffect,           // a command took effect after its window was closed
  kFlushedLost,          // gone although a flush, or FUA, made it durable
  kUntoldLoss,           // unflushed, lost in a crash, and the next flush said GOOD
  kWentBack,             // after a crash, a block changed without a write
  kCompareAndWrite,      // it was GOOD, and the block did not hold what it compared with
  kFalseMiscompare,      // MISCOMPARE, and every block held what it compared with, all the time
  kTornCompareAndWrite,  // it took effect in one of its blocks and not in another one
  kStale  // a read without an order of commands that explains it: an acknowledged write lost,
          // undone or done twice
};
const char* name_of(HistoryFault fault);

struct HistoryViolation {
  HistoryFault fault = HistoryFault::kStale;
  uint64_t block = 0;
  History::Handle op = 0;   // the command that cannot be explained
  std::string explanation;  // for a person, several lines: what, and the events in order
};

struct HistoryVerdict {
  std::vector<HistoryViolation> violations;  // of different blocks, in order of time
  uint64_t num_violations = 0;               // all of them; `violations` has the first few
  uint64_t num_blocks = 0;                   // that were judged
  // Where too many commands ran at the same time to try all orders; a test that has some is to be
  // made tamer. Not judged, and so no violation.
  std::vector<uint64_t> undecided;

  bool is_clean() const { return num_violations == 0 && undecided.empty(); }
  // "clean: 12 blocks, 345 commands", or the explanations.
  std::string to_string() const;
};

// Judges a history: every block must be explained by one order of the commands on it, which fits
// the order of the calls. Each block is a register: a write of several blocks may tear between
// them; COMPARE AND WRITE takes effect in all of its blocks or in none, unless a loss interferes.
//
// Durability. When unflushed writes may be lost (a power cut, a crash with loss), a block keeps the
// last write that was durable, or one that took effect after it. Durable is a write that was
// acknowledged with FUA, or before the invocation of a FLUSH that was then GOOD. What a read found
// after a loss was on disk, and stays. A write that was acknowledged may only be lost if that was
// told: no FLUSH that covers it, invoked after it was acknowledged, is GOOD unless a FLUSH answered
// kReportedLost before, after the loss, to the same client if that one wrote what is lost, and to
// any client if not. A GOOD flush that was never preceded by the telling claims that the write is
// there.
//
// Near linear in commands × blocks. Pure.
HistoryVerdict judge(const History& history);

}  // namespace lunar::test
