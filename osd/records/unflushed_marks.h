// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "common/bytes.h"
#include "objecter/protocol/types.h"
#include "osd/records/record_writer.h"
#include "osd/server_records.h"
#include "osd/store_done.h"

namespace lunar::osd {

using objecter::ImageId;

// Which images have acknowledged writes that no flush has made durable, in memory and as the record
// kRecord. A mark is durable before the first such write of its image is acknowledged, and goes
// with a flush that covers all writes of the image: a flush is a round, and covers the writes that
// ended before it began.
// Loop-bound. Borrows the records, which outlive it; must not be destroyed while is_busy().
class UnflushedMarks {
 public:
  static constexpr const char* kRecord = "unflushed";
  static constexpr std::size_t kMaxImages = 65536;

  // `incarnation`: the start of the store that makes the marks.
  UnflushedMarks(ServerRecords& records, uint64_t incarnation);
  // Takes the marks from the record. False if it is damaged or of another version. REQUIRES: called
  // at most once, before anything else.
  bool decode(ConstBytes record);

  // An unstable write of the image begins; end_write() ends it. True if the mark is durable
  // already; else wait_marked() says when it is.
  bool begin_write(ImageId image);
  // Marks the image; done runs when that is durable. kBusy: too many images are marked; else why
  // the record could not be written. A mark that was durable before stays in any case.
  void wait_marked(ImageId image, StoreDone done);
  void end_write(ImageId image);

  // A flush of the store begins: its round, counted from 1.
  uint64_t begin_round() { return ++round_; }
  // That flush has succeeded: takes the marks that it covers out of memory. True if there were
  // some; then the record has to be saved.
  bool remove_flushed(uint64_t round);
  // Runs done when the record has what is marked now.
  void save(StoreDone done) { writer_.save(std::move(done)); }
  bool is_busy() const noexcept { return writer_.is_busy(); }

  std::size_t count() const noexcept;    // images that are marked
  std::vector<ImageId> marked() const;   // in order
  std::vector<ImageId> at_risk() const;  // marked, or being written; in order

 private:
  // An image that is marked, or is being written. is_durable implies is_marked; `waiting` is empty
  // unless is_saving.
  struct ImageMark {
    bool is_marked = false;   // belongs in the record
    bool is_durable = false;  // is in it
    bool is_saving = false;   // a record that has it is being written
    uint32_t writing = 0;     // writes begun and not ended
    uint64_t last_write = 0;  // the round in which a write last ended
    std::vector<StoreDone> waiting;
  };

  std::vector<std::byte> encode() const;
  void save_mark(ImageId image);
  void forget_if_idle(ImageId image);

  const uint64_t incarnation_;
  std::map<ImageId, ImageMark> images_;
  uint64_t round_ = 0;  // the latest
  RecordWriter writer_;
};

}  // namespace lunar::osd
