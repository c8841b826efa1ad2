// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "osd/object_store.h"
#include "osd/ops/client_op.h"
#include "osd/ops/one_sided_counters.h"
#include "osd/ops/op_check.h"
#include "osd/records/object_versions.h"
#include "osd/records/unflushed_ledger.h"

namespace lunar::osd {

// What runs share. Everything is borrowed.
struct OpEnvironment {
  msgr::EventCenter& center;
  ObjectStore& store;
  ObjectVersions& versions;
  UnflushedLedger& ledger;
  const OpLimits& limits;
  OneSidedCounters& one_sided;
};

// One vector of steps, from its first to its reply, on an object that nobody else touches
// meanwhile (readers share it with readers). First the steps that check and return, in order; then
// those that change:
// - of a data object one store call after the other. If the store fails in the middle, what was
//   done stays done, the result says which steps, and the object has a new version all the same;
// - of a metadata object in memory, and then with one crash-atomic replace().
// A payload that the client described is pulled first, all of it; but that of a single WRITE while
// it is stored. If it cannot be had the op ends with kRetryInline.
// Loop-bound. Destroys itself never: the executor owns it until `done` ran.
class OpRun {
 public:
  using Done = InlineFunction<void(OpResultRef)>;
  OpRun(const OpEnvironment& environment, ClientOpRef op, Done done);
  ~OpRun();
  OpRun(const OpRun&) = delete;
  OpRun& operator=(const OpRun&) = delete;

  // Takes what buffers it needs. False if the pool is used up: nothing is held, call again later.
  bool take_buffers();
  // Begins. `done` runs once, later, as the last thing the run does.
  void start();

 private:
  const SubOp& step() const noexcept { return op_->header.steps[index_]; }
  SubOpResult& step_result() noexcept { return result_->header.steps[index_]; }
  ConstBytes step_data() const noexcept {
    return op_->data().subspan(data_offset_, step().data_length);
  }

  OsdErrc refusal() const;
  void next();
  void step_done(OsdErrc error);
  void add_data(ReplyPiece piece);

  // Steps that check or return something: op_run_reads.cc.
  void start_reading_step();
  void read();
  void read_whole();
  ReplyPiece whole_piece(std::size_t size);
  void sparse_read();
  void read_extent(std::size_t number, uint64_t filled);
  void map_extents();
  void stat();
  void get_xattr();
  void compare();
  bool is_at(const ObjectVersion& version) const;

  // A payload in the client's memory: op_run_pull.cc.
  bool take_pull_buffers();
  bool is_tired_of_waiting();
  void begin_pull();
  void stage();
  void staged_one(PullFault fault);
  void give_up_pull(PullFault fault);

  // Steps that change a data object: op_run_changes.cc.
  void begin_changes();
  void mark_changes();
  void start_changing_step();
  void write_same();
  void write_pattern(ConstBytes pattern, uint64_t written);
  void or_write();
  void remove();
  // Ends the step; then_sync() after a flush, for what the store cannot do stably by itself.
  StoreDone then_sync();
  auto change_done() {
    return [this](std::error_code error) { step_done(wire_error(error)); };
  }
  bool replaces_object() const noexcept;

  ObjectVersion version() const;
  void finish(OsdErrc error);
  void finish_changes();
  void settle_damage();
  void reply();

  const OpEnvironment& env_;
  const ClientOpRef op_;
  Done done_;
  std::shared_ptr<OpResult> result_;
  std::vector<msgr::RegisteredBuffer> buffers_;  // one per step; empty where none is needed
  std::size_t index_ = 0;                        // of the step in progress
  std::size_t data_offset_ = 0;                  // of its data in the op's
  bool in_start_ = false;
  bool changing_ = false;      // begin_changes() ran
  bool unstable_ = false;      // a write of the image was begun in the ledger
  bool marked_ = true;         // … and its mark is durable, or none is needed
  bool changes_done_ = false;  // nothing of ours is inside the store any more
  OsdErrc mark_error_ = OsdErrc::kOk;
  objecter::ExtentMap extents_;  // of a SPARSE_READ
  std::unique_ptr<class MetadataRun> metadata_;
  std::unique_ptr<class PulledWrite> pulled_write_;
  std::unique_ptr<class PayloadPull> pull_;  // into staging_
  msgr::RegisteredBuffer staging_;
  PullFault pull_fault_ = PullFault::kNone;
  bool is_tired_ = false;  // no buffers came free in time
  uint64_t pulled_bytes_ = 0;
};

}  // namespace lunar::osd
