// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_marks.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "osd/records/wire_error.h"

namespace lunar::osd {
namespace {
constexpr uint16_t kMarksVersion = 1;
}  // namespace

UnflushedMarks::UnflushedMarks(ServerRecords& records, uint64_t incarnation)
    : incarnation_(incarnation), writer_(records, kRecord, [this] { return encode(); }) {}

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
    entry.is_marked = entry.is_durable = true;
  }
  return reader.is_finished();
}

bool UnflushedMarks::begin_write(ImageId image) {
  ImageMark& entry = images_[image];
  ++entry.writing;
  return entry.is_marked && entry.is_durable;
}

void UnflushedMarks::wait_marked(ImageId image, StoreDone done) {
  ImageMark& entry = images_[image];
  entry.waiting.push_back(std::move(done));
  if (!entry.is_saving) save_mark(image);
}

void UnflushedMarks::save_mark(ImageId image) {
  ImageMark& entry = images_[image];
  entry.is_saving = true;
  entry.is_marked = true;
  const auto settle = [this, image](std::error_code error) {
    ImageMark& saved = images_.at(image);
    // A mark that is durable stays whatever becomes of this write: it may stand for a loss.
    if (saved.is_durable) return;
    saved.is_marked = saved.is_durable = !error && count() <= kMaxImages;
  };
  writer_.save(settle, [this, image](std::error_code error) {
    ImageMark& saved = images_.at(image);
    if (!error && !saved.is_durable) error = OsdErrc::kBusy;
    saved.is_saving = false;
    auto waiting = std::exchange(saved.waiting, {});
    forget_if_idle(image);
    for (auto& done : waiting) done(error);
  });
}

void UnflushedMarks::end_write(ImageId image) {
  ImageMark& entry = images_[image];
  LUNAR_CHECK(entry.writing > 0, "a write ended twice");
  --entry.writing;
  entry.last_write = round_;
  forget_if_idle(image);
}

bool UnflushedMarks::remove_flushed(uint64_t round) {
  std::vector<ImageId> cleared;
  for (auto& [image, entry] : images_) {
    if (!entry.is_marked || entry.writing > 0 || entry.is_saving || entry.last_write >= round)
      continue;
    entry.is_marked = entry.is_durable = false;
    cleared.push_back(image);
  }
  for (const ImageId image : cleared) forget_if_idle(image);
  return !cleared.empty();
}

void UnflushedMarks::forget_if_idle(ImageId image) {
  const auto found = images_.find(image);
  if (found == images_.end()) return;
  const ImageMark& entry = found->second;
  if (!entry.is_marked && entry.writing == 0 && !entry.is_saving) images_.erase(found);
}

std::size_t UnflushedMarks::count() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      images_.begin(), images_.end(), [](const auto& entry) { return entry.second.is_marked; }));
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
    if (entry.is_marked || entry.writing > 0) images.push_back(image);
  return images;
}

}  // namespace lunar::osd
