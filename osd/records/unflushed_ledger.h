// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "objecter/protocol/types.h"
#include "osd/durability.h"
#include "osd/records/client_name.h"
#include "osd/records/loss_recorder.h"
#include "osd/records/loss_table.h"
#include "osd/records/unflushed_marks.h"
#include "osd/records/wire_error.h"
#include "osd/server_records.h"

namespace lunar::osd {

// Knows which images have acknowledged writes that no flush has made durable, and which may have
// lost some: README.md, "Unflushed data".
// - An image is marked, durably, before the first unstable write of it is acknowledged; some time
//   after a FLUSH, of any image, has covered all its writes, the mark goes: UnflushedMarks.
// - A start after which the page cache may be gone, and any write-back error, turn marks into a
//   *lost* state. Each client that flushes the image is told by a failing FLUSH, and by every
//   further one until it says that it has heard; what it says is durable a while later, so that a
//   crash tells it again: rather twice than never.
// - The verifier is the same as long as nothing can have been lost.
// - A mark goes only when nothing that it stands for is lost, or the loss is in its record. While a
//   loss cannot be recorded no write is acknowledged and no FLUSH succeeds; the record is tried
//   again by each of them, and by a timer.
// Loop-bound. Borrows records and durability of the store, which outlive it; destroy it only after
// shutdown().
class UnflushedLedger {
 public:
  static constexpr std::size_t kMaxToldClients = LossTable::kMaxToldClients;

  // Reads the records, and makes durable what this start changes before `done` runs, later.
  using LoadDone = UniqueFunction<void(Outcome<std::unique_ptr<UnflushedLedger>>)>;
  static void load(msgr::EventCenter& center, ServerRecords& records, Durability& durability,
                   uint64_t incarnation, LoadDone done);
  ~UnflushedLedger();

  uint64_t verifier() const noexcept { return losses_.verifier(); }

  // An unstable write of the image begins; end_write() ends it. True if the image is marked
  // already; else the write is acknowledged only after wait_marked().
  bool begin_write(ImageId image);
  // Runs done when the mark is durable; an error means the write must not be acknowledged. Images
  // are shared among the entities that write them (UnflushedMarks).
  void wait_marked(ImageId image, const std::string& entity, StoreDone done);
  // The store has done the write, or failed to; called before the acknowledgement.
  void end_write(ImageId image) { marks_.end_write(image); }

  // `loss` is not 0 with kLostWrites, and only then: what the client has to name as `heard`.
  using FlushDone = InlineFunction<void(OsdErrc error, uint64_t loss)>;
  // Flushes the store. kOk; kLostWrites until a flush of this client has named the loss as `heard`
  // (0: none); else what the store said.
  void flush(ImageId image, std::shared_ptr<const ClientName> client, uint64_t heard,
             FlushDone done);

  // The store lost something, and the new verifier is not durable yet: every reply has to wait for
  // the done of wait_recorded().
  bool is_recording() const noexcept { return recorder_.is_recording(); }
  void wait_recorded(InlineFunction<void()> done) { recorder_.wait(std::move(done)); }

  // Reads of a damaged object, and writes that do not replace it whole, must fail with kIoError.
  bool is_damaged(const ObjectId& object) const { return losses_.is_damaged(object); }
  // For good: more objects are damaged than can be remembered, so any may be. Every op on an object
  // must fail with kIoError.
  bool has_too_many_damaged() const noexcept { return losses_.has_too_many_damaged(); }
  // Names of the damaged objects of the pool that come after `object`, in byte order.
  std::vector<std::string> damaged_after(const ObjectId& object) const;
  // It was replaced or deleted, durably.
  void repaired(const ObjectId& object, StoreDone done) {
    losses_.repaired(object, std::move(done));
  }

  // Flushes, and clears the marks if that succeeds.
  void shutdown(UniqueFunction<void()> done);

  std::vector<ImageId> marked_images() const { return marks_.marked(); }
  // For the admin socket: lost images and whom they were told to, damaged objects, marks.
  std::string to_json() const;

 private:
  struct FlushWaiter {
    ImageId image;
    std::shared_ptr<const ClientName> client;
    uint64_t heard = 0;
    FlushDone done;
  };

  UnflushedLedger(msgr::EventCenter& center, ServerRecords& records, Durability& durability,
                  uint64_t incarnation);
  Outcome<void> read_records(const ServerRecords& records);

  void start_flush();
  void on_flushed(uint64_t round, std::error_code error);
  void finish_flush(OsdErrc answer);
  void answer_flushes(std::vector<FlushWaiter> waiters, OsdErrc error);
  OsdErrc answer_of_success() const noexcept {
    return may_acknowledge() ? OsdErrc::kOk : OsdErrc::kIoError;
  }
  void on_loss(std::error_code error, const std::vector<ObjectId>& objects);
  void log_too_many() const;
  bool may_acknowledge() const noexcept {
    return !recorder_.is_unrecorded() && !losses_.has_too_many_damaged();
  }
  // Waits until no record is being written.
  void drain(UniqueFunction<void()> done);

  Durability& durability_;
  UnflushedMarks marks_;
  LossTable losses_;
  LossRecorder recorder_;
  bool is_flushing_ = false;  // the store flushes for this_flush_; next_flush_ waits for it
  std::vector<FlushWaiter> next_flush_;
  std::vector<FlushWaiter> this_flush_;
};

}  // namespace lunar::osd
