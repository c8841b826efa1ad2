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
//   *lost* state, which each client is told once (or again after a crash: rather twice than never)
//   by a failing FLUSH.
// - The verifier is the same as long as nothing can have been lost.
// Loop-bound. Borrows records and durability of the store, which outlive it; destroy it only after
// shutdown().
class UnflushedLedger {
 public:
  static constexpr std::size_t kMaxImages = 65536;
  static constexpr std::size_t kMaxToldClients = 256;  // per image; the oldest are told again
  static constexpr std::size_t kMaxDamaged = 4096;
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

  // Flushes the store. kOk; kLostWrites, once per client; else what the store said.
  void flush(ImageId image, std::shared_ptr<const ClientName> client,
             InlineFunction<void(OsdErrc)> done);

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
    InlineFunction<void(OsdErrc)> done;
  };

  UnflushedLedger(ServerRecords& records, Durability& durability, uint64_t incarnation);
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
  // Waits until no record is being written.
  void settle(UniqueFunction<void()> done);
  void forget_if_idle(ImageId image);

  ServerRecords& records_;
  Durability& durability_;
  const uint64_t incarnation_;
  uint64_t verifier_ = 0;
  bool has_failed_ =
      false;  // a loss could not be recorded: no unstable write is acknowledged again
  std::map<ImageId, ImageMark> images_;
  std::map<ImageId, std::deque<std::string>> lost_;  // clients told, oldest first
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
