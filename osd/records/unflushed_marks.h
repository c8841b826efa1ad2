// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "msgr/event_center.h"
#include "objecter/protocol/types.h"
#include "osd/records/record_writer.h"
#include "osd/server_records.h"
#include "osd/store_done.h"

namespace lunar::osd {

using objecter::ImageId;

// Which images have acknowledged writes that no flush has made durable, in memory and as the record
// kRecord. A mark is durable before the first such write of its image is acknowledged. A flush is a
// round, and covers the writes that ended before it began; an image all of whose writes it covers
// is flushed. Its mark stays in the record until it has not been written for a while, so that who
// writes and flushes in turn pays for one mark and not for two records a flush (md's write-intent
// bitmap is cleared as late: mdadm(8), --delay). A power cut in that while is reported as a loss of
// the image, wrongly.
// Loop-bound. Borrows what it is made with; must not be destroyed while is_busy().
class UnflushedMarks {
 public:
  static constexpr const char* kRecord = "unflushed";
  static constexpr std::size_t kMaxImages = 65536;
  // The mark of a flushed image goes after this at the earliest, and after twice this at the
  // latest.
  static constexpr std::chrono::milliseconds kIdle{500};

  // `incarnation`: the start of the store that makes the marks.
  UnflushedMarks(msgr::EventCenter& center, ServerRecords& records, uint64_t incarnation);
  ~UnflushedMarks() { center_.cancel(clear_); }
  // Takes the marks from the record. False if it is damaged or of another version. REQUIRES: called
  // at most once, before anything else.
  bool decode(ConstBytes record);

  // An unstable write of the image begins; end_write() ends it. True if the mark is durable
  // already; else wait_marked() says when it is.
  bool begin_write(ImageId image);
  // Marks the image, for this entity if it is not marked (empty: the server itself); done runs when
  // that is durable. kBusy: too many images are marked, and no entity makes more of those than
  // there is room left for others; else why the record could not be written. A mark that was
  // durable before stays in any case.
  void wait_marked(ImageId image, const std::string& entity, StoreDone done);
  void end_write(ImageId image);

  // A flush of the store begins: its round, counted from 1.
  uint64_t begin_round() { return ++round_; }
  // That flush has succeeded.
  void end_round(uint64_t round);
  // Takes the marks of all flushed images out of the record at once, and leaves it to nobody later;
  // done runs when the record has what is marked now.
  void clear_flushed(StoreDone done);
  bool is_busy() const noexcept { return writer_.is_busy(); }

  std::size_t count() const noexcept { return marked_; }  // images that are marked
  std::vector<ImageId> marked() const;                    // in order
  std::vector<ImageId> at_risk() const;  // marked and not flushed, or being written; in order

 private:
  // An image that is marked, or is being written. is_durable implies is_marked, and is_idle
  // implies is_flushed, which implies is_durable; `waiting` is empty unless is_saving.
  struct ImageMark {
    bool is_marked = false;   // belongs in the record
    bool is_durable = false;  // is in it
    bool is_saving = false;   // a record that has it is being written
    bool is_flushed = false;  // nothing of it is unflushed
    bool is_idle = false;     // and was not written when the timer ran last
    uint32_t writing = 0;     // writes begun and not ended
    uint64_t last_write = 0;  // the round in which a write last ended
    // Whom the mark counts for. Empty: not marked, the server's own, or read from the record.
    std::string entity;
    std::vector<StoreDone> waiting;
  };

  std::vector<std::byte> encode() const;
  void set_marked(ImageMark& mark, bool is_marked);
  bool is_within_share(const ImageMark& mark) const;
  void save_mark(ImageId image);
  void forget_if_clean(ImageId image);
  void clear_later();
  void clear_idle();
  void clear(const std::vector<ImageId>& images, StoreDone done);

  msgr::EventCenter& center_;
  const uint64_t incarnation_;
  std::map<ImageId, ImageMark> images_;
  std::size_t marked_ = 0;                        // of images_
  std::map<std::string, std::size_t> marked_of_;  // by entity; none is 0
  uint64_t round_ = 0;                            // the latest
  RecordWriter writer_;
  msgr::TimerId clear_ = msgr::TimerId::kNone;  // runs while an image is flushed
};

}  // namespace lunar::osd
