// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "objecter/protocol/types.h"
#include "osd/durability.h"
#include "osd/records/client_name.h"
#include "osd/records/record_writer.h"
#include "osd/records/wire_error.h"
#include "osd/server_records.h"

namespace lunar::osd {

using objecter::ImageId;

// Knows which images have acknowledged writes that no flush has made durable, and which may have
// lost some: README.md, "Unflushed data".
// - An image is marked, durably, before the first unstable write of it is acknowledged after a
//   flush; a FLUSH of any image clears the marks of all that were not written meanwhile.
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
  static constexpr std::size_t kMaxImages = 65536;
  // Per image, of those that have heard of its loss. The oldest are told again, unless their
  // FLUSHes still say that they have.
  static constexpr std::size_t kMaxToldClients = 256;
  static constexpr std::size_t kMaxDamaged = 65536;
  static constexpr std::size_t kMaxClientBytes = 1024;  // of a name in the record

  // Reads the records, and makes durable what this start changes before `done` runs, later.
  using LoadDone = UniqueFunction<void(Outcome<std::unique_ptr<UnflushedLedger>>)>;
  static void load(msgr::EventCenter& center, ServerRecords& records, Durability& durability,
                   uint64_t incarnation, LoadDone done);
  ~UnflushedLedger();

  uint64_t verifier() const noexcept { return verifier_; }

  // An unstable write of the image begins; end_write() ends it. True if the image is marked
  // already; else the write is acknowledged only after wait_marked().
  bool begin_write(ImageId image);
  // Runs done when the mark is durable; an error means the write must not be acknowledged.
  void wait_marked(ImageId image, StoreDone done);
  // The store has done the write, or failed to; called before the acknowledgement.
  void end_write(ImageId image);

  // `loss` is not 0 with kLostWrites, and only then: what the client has to name as `heard`.
  using FlushDone = InlineFunction<void(OsdErrc error, uint64_t loss)>;
  // Flushes the store. kOk; kLostWrites until a flush of this client has named the loss as `heard`
  // (0: none); else what the store said.
  void flush(ImageId image, std::shared_ptr<const ClientName> client, uint64_t heard,
             FlushDone done);

  // The store lost something, and the new verifier is not durable yet: every reply has to wait for
  // the done of wait_recorded().
  bool is_recording() const noexcept { return recording_ > 0; }
  void wait_recorded(InlineFunction<void()> done) { after_recording_.push_back(std::move(done)); }

  // Reads of a damaged object, and writes that do not replace it whole, must fail with kIoError.
  bool is_damaged(const ObjectId& object) const { return damaged_.contains(object); }
  // It was replaced or deleted, durably.
  void repaired(const ObjectId& object, StoreDone done);

  // Flushes, and clears the marks if that succeeds.
  void shutdown(UniqueFunction<void()> done);

  std::size_t marked_images() const noexcept;
  // For the admin socket: lost images and whom they were told to, damaged objects, marks.
  std::string to_json() const;

 private:
  // An image with unflushed writes, or with writes that have begun. is_durable implies is_marked;
  // `waiting` is empty unless is_saving.
  struct ImageMark {
    bool is_marked = false;   // belongs in the record
    bool is_durable = false;  // is in it
    bool is_saving = false;   // a record that has it is being written
    uint32_t writing = 0;     // writes begun and not ended
    uint64_t last_write = 0;  // round in which a write last ended
    std::vector<StoreDone> waiting;
  };
  struct FlushWaiter {
    ImageId image;
    std::shared_ptr<const ClientName> client;
    uint64_t heard = 0;
    FlushDone done;
  };
  struct ImageLoss {
    uint64_t id = 0;               // never 0: the verifier since the latest loss of the image
    std::deque<std::string> told;  // clients that said that they heard of it, oldest first
    // Notes that a client did. True if that was not known.
    bool add(const std::string& client);
  };

  UnflushedLedger(msgr::EventCenter& center, ServerRecords& records, Durability& durability,
                  uint64_t incarnation);
  Outcome<void> read_records();
  bool decode_marks(ConstBytes record);
  bool decode_losses(ConstBytes record);
  std::vector<std::byte> encode_marks() const;
  std::vector<std::byte> encode_losses() const;

  void save_mark(ImageId image);
  void start_flush();
  void flush_done(uint64_t round, std::error_code error);
  void answer_flushes(std::vector<FlushWaiter> waiters, OsdErrc error);
  void lose_marked();
  void on_loss(std::error_code error, const std::vector<ObjectId>& objects);
  void record_loss();
  void on_recorded(std::error_code error);
  void try_record_again();
  bool may_acknowledge() const noexcept { return !is_unrecorded_ && !has_too_many_damaged_; }
  // Waits until no record is being written.
  void drain(UniqueFunction<void()> done);
  void forget_if_idle(ImageId image);

  msgr::EventCenter& center_;
  ServerRecords& records_;
  Durability& durability_;
  const uint64_t incarnation_;
  uint64_t verifier_ = 0;
  bool is_unrecorded_ = false;                  // the last record of a loss could not be written
  bool has_too_many_damaged_ = false;           // for good: some are not in damaged_
  bool is_shut_down_ = false;                   // retry_ does not run any more
  msgr::TimerId retry_ = msgr::TimerId::kNone;  // runs while is_unrecorded_
  std::map<ImageId, ImageMark> images_;
  std::map<ImageId, ImageLoss> lost_;
  std::set<ObjectId> damaged_;
  uint64_t round_ = 0;
  bool is_flushing_ = false;  // the store flushes for this_flush_; next_flush_ waits for it
  std::vector<FlushWaiter> next_flush_;
  std::vector<FlushWaiter> this_flush_;
  std::size_t recording_ = 0;  // losses whose record is being written
  std::vector<InlineFunction<void()>> after_recording_;
  RecordWriter marks_;
  RecordWriter losses_;
};

}  // namespace lunar::osd
