// SPDX-License-Identifier: LGPL-2.1-or-later
// The verify mode: random operations on one LUN, every read checked, and all of it read at the end.
// Bound to its PollLoop's thread; borrows the LUN.
#pragma once

#include <array>
#include <functional>
#include <list>
#include <optional>
#include <set>
#include <string>

#include "tests/e2e/iscsi_load/lun.h"
#include "tests/e2e/iscsi_load/verifier.h"
#include "tests/e2e/iscsi_load/workload.h"

namespace lunar::iscsi_load {

struct VerifyOptions {
  uint64_t seed = 1;
  uint64_t total_bytes = 0;  // of payload moved by the random phase
  uint32_t depth = 8;
  bool full_mix = false;
  uint32_t read_percent = 50;
  uint64_t max_op_bytes = 8 << 20;
  uint64_t boundary_bytes = 4 << 20;
  uint64_t span_offset_bytes = 0;
  uint64_t span_bytes = 0;  // 0: to the end of the LUN
  bool initially_anything = false;
  bool tolerate_failures = false;
  bool final_pass = true;
  std::set<std::string> required;  // names of OpKinds that the target must carry out
  std::string load_state, save_state;
};

// Also the program's exit code; the worst of several LUNs counts.
enum class Verdict {
  kClean = 0,
  kMismatch = 1,
  kUnusable = 2,
  kCommandFailed = 3,
  kUnsupported = 4
};

struct VerifyReport {
  Verdict verdict = Verdict::kClean;
  std::string problem;  // the first, for a person
  std::array<uint64_t, kNumOpKinds> ops{};
  std::set<OpKind> unsupported;
  uint64_t bytes_read = 0, bytes_written = 0;  // in the random phase
  uint64_t bytes_read_back = 0;                // in the final pass
  uint64_t failed_ops = 0;
  uint64_t uncertain_blocks = 0;  // at the start of the final pass
  double seconds = 0;
};

class VerifyRun {
 public:
  VerifyRun(PollLoop& loop, Lun& lun, VerifyOptions options);

  // REQUIRES: the LUN is open.
  void start(std::function<void()> done);
  const VerifyReport& report() const { return report_; }

 private:
  struct InFlight {
    Op op;
    std::shared_ptr<Buffer> buffer;  // for kRead
  };
  using Position = std::list<InFlight>::iterator;

  bool set_up();
  void limit_to_geometry(WorkloadOptions& workload) const;
  void pump();
  bool issue_next();
  void issue(const Op& op);
  void issue_compare_and_write(const Op& op);
  void submit(Op op, Command command);
  void answered(Position position, const FinalCompletion& result);
  void take_effect(const Op& op, const FinalCompletion& result);
  void compare_and_write_answered(const Op& op, const FinalCompletion& result);
  bool is_unsupported(const Op& op, const Completion& completion);
  void failed(const Op& op, const Completion& completion);
  void check(const BlockRange& range, const Buffer& buffer);
  void stop(Verdict verdict, std::string problem);
  void begin_final_pass();
  void pump_final_pass();
  void finish();

  PollLoop& loop_;
  Lun& lun_;
  const VerifyOptions options_;
  std::function<void()> done_;
  std::optional<Verifier> verifier_;
  std::optional<Workload> workload_;
  std::optional<Op> held_back_;  // overlaps what is in flight: the sequence waits for it
  std::list<InFlight> in_flight_;
  uint64_t bytes_issued_ = 0;
  bool stopping_ = false;
  bool is_final_pass_ = false;
  std::vector<BlockRange> read_back_;
  size_t next_read_back_ = 0;
  Clock::time_point started_;
  VerifyReport report_;
};

}  // namespace lunar::iscsi_load
