// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_marks.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "osd/records/wire_error.h"

namespace lunar::osd {
namespace {
constexpr uint16_t kMarksVersion = 1;
}  // namespace

UnflushedMarks::UnflushedMarks(msgr::EventCenter& center, ServerRecords& records,
                               uint64_t incarnation)
    : center_(center),
      incarnation_(incarnation),
      writer_(records, kRecord, [this] { return encode(); }) {}

std::vector<std::byte> UnflushedMarks::encode() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(kMarksVersion);
  writer.put(static_cast<uint32_t>(count()));
  for (const ImageId image : marked()) {
    writer.put(image);
    writer.put(incarnation_);
  }
  return out;
}

bool UnflushedMarks::decode(ConstBytes record) {
  ByteReader reader(record);
  if (reader.get<uint16_t>() != kMarksVersion) return false;
  const auto count = reader.get<uint32_t>();
  if (!reader.can_hold(count, 16)) return false;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    ImageMark& entry = images_[reader.get<ImageId>()];
    reader.get<uint64_t>();  // the incarnation that marked it; for people who read the record
    if (!entry.is_marked) set_marked(entry, true);
    entry.is_durable = true;
  }
  return reader.is_finished();
}

bool UnflushedMarks::begin_write(ImageId image) {
  ImageMark& entry = images_[image];
  ++entry.writing;
  entry.is_flushed = entry.is_idle = false;
  return entry.is_marked && entry.is_durable;
}

void UnflushedMarks::set_marked(ImageMark& mark, bool is_marked) {
  if (mark.is_marked == is_marked) return;
  mark.is_marked = is_marked;
  if (is_marked) {
    ++marked_;
    ++marked_of_[mark.entity];
    return;
  }
  --marked_;
  if (const auto own = marked_of_.find(mark.entity); --own->second == 0) marked_of_.erase(own);
  mark.entity.clear();
}

// As many as there is room left for others, with this one.
bool UnflushedMarks::is_within_share(const ImageMark& mark) const {
  if (mark.entity.empty()) return marked_ <= kMaxImages;
  return marked_of_.at(mark.entity) + marked_ <= kMaxImages + 1;
}

void UnflushedMarks::wait_marked(ImageId image, const std::string& entity, StoreDone done) {
  ImageMark& entry = images_[image];
  if (!entry.is_marked) entry.entity = entity;
  entry.waiting.push_back(std::move(done));
  if (!entry.is_saving) save_mark(image);
}

void UnflushedMarks::save_mark(ImageId image) {
  ImageMark& entry = images_[image];
  entry.is_saving = true;
  set_marked(entry, true);
  const auto settle = [this, image](std::error_code error) {
    ImageMark& saved = images_.at(image);
    // A mark that is durable stays whatever becomes of this write: it may stand for a loss.
    if (saved.is_durable) return;
    saved.is_durable = !error && is_within_share(saved);
    set_marked(saved, saved.is_durable);
  };
  writer_.save(settle, [this, image](std::error_code error) {
    ImageMark& saved = images_.at(image);
    if (!error && !saved.is_durable) error = OsdErrc::kBusy;
    saved.is_saving = false;
    auto waiting = std::exchange(saved.waiting, {});
    forget_if_clean(image);
    for (auto& done : waiting) done(error);
  });
}

void UnflushedMarks::end_write(ImageId image) {
  ImageMark& entry = images_[image];
  LUNAR_CHECK(entry.writing > 0, "a write ended twice");
  --entry.writing;
  entry.last_write = round_;
  forget_if_clean(image);
}

void UnflushedMarks::end_round(uint64_t round) {
  bool is_any_flushed = false;
  for (auto& [image, entry] : images_) {
    if (!entry.is_marked || entry.writing > 0 || entry.is_saving || entry.last_write >= round)
      continue;
    entry.is_flushed = is_any_flushed = true;
  }
  if (is_any_flushed) clear_later();
}

// --- clearing ---

void UnflushedMarks::clear_later() {
  if (clear_ != msgr::TimerId::kNone) return;
  clear_ = center_.run_after(kIdle, [this] {
    clear_ = msgr::TimerId::kNone;
    clear_idle();
  });
}

void UnflushedMarks::clear_idle() {
  std::vector<ImageId> idle;
  bool has_more = false;
  for (auto& [image, entry] : images_) {
    if (entry.is_idle) {
      idle.push_back(image);
    } else if (entry.is_flushed) {
      entry.is_idle = has_more = true;
    }
  }
  if (has_more) clear_later();
  if (!idle.empty()) clear(idle, [](std::error_code) {});
}

void UnflushedMarks::clear_flushed(StoreDone done) {
  center_.cancel(std::exchange(clear_, msgr::TimerId::kNone));
  std::vector<ImageId> flushed;
  for (const auto& [image, entry] : images_)
    if (entry.is_flushed) flushed.push_back(image);
  clear(flushed, std::move(done));
}

void UnflushedMarks::clear(const std::vector<ImageId>& images, StoreDone done) {
  for (const ImageId image : images) {
    ImageMark& entry = images_.at(image);
    set_marked(entry, false);
    entry.is_durable = entry.is_flushed = entry.is_idle = false;
    forget_if_clean(image);
  }
  writer_.save([done = std::move(done)](std::error_code error) mutable {
    // The data is durable all the same; a mark that stays can only raise a false alarm.
    if (error) LUNAR_ERROR(kOsd, "cannot clear unflushed marks: {}", error.message());
    done(error);
  });
}

void UnflushedMarks::forget_if_clean(ImageId image) {
  const auto found = images_.find(image);
  if (found == images_.end()) return;
  const ImageMark& entry = found->second;
  if (!entry.is_marked && entry.writing == 0 && !entry.is_saving) images_.erase(found);
}

std::vector<ImageId> UnflushedMarks::marked() const {
  std::vector<ImageId> images;
  for (const auto& [image, entry] : images_)
    if (entry.is_marked) images.push_back(image);
  return images;
}

std::vector<ImageId> UnflushedMarks::at_risk() const {
  std::vector<ImageId> images;
  for (const auto& [image, entry] : images_)
    if ((entry.is_marked && !entry.is_flushed) || entry.writing > 0) images.push_back(image);
  return images;
}

}  // namespace lunar::osd
