// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/reading_steps.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "osd/ops/op_run.h"

namespace lunar::osd {
namespace {

// An absent object reads as zeroes, which is what the store has put into the buffer.
std::error_code absent_is_zero(std::error_code error) noexcept {
  return error == make_error_code(OsdErrc::kNoSuchObject) ? std::error_code() : error;
}

// Joins neighbours, those with the smallest gaps first, until at most `limit` extents are left.
void join_extents(objecter::ExtentMap& map, uint64_t limit) {
  auto& extents = map.extents;
  if (extents.size() <= limit) return;
  std::vector<uint64_t> gaps;
  gaps.reserve(extents.size());
  for (std::size_t i = 1; i < extents.size(); ++i)
    gaps.push_back(extents[i].first - (extents[i - 1].first + extents[i - 1].second));
  std::vector<uint64_t> sorted = gaps;
  std::size_t joins = extents.size() - limit;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(joins - 1),
                   sorted.end());
  const uint64_t widest = sorted[joins - 1];
  std::size_t last = 0;
  for (std::size_t i = 1; i < extents.size(); ++i) {
    if (joins > 0 && gaps[i - 1] <= widest) {
      extents[last].second = extents[i].first + extents[i].second - extents[last].first;
      --joins;
    } else {
      extents[++last] = extents[i];
    }
  }
  extents.resize(last + 1);
}

ReplyData encoded(const objecter::ExtentMap& map) {
  ReplyData data;
  encode(map, data.small);
  return data;
}

}  // namespace

void ReadingSteps::start() {
  switch (cursor_.step().code) {
    case OpCode::kRead:
      return read();
    case OpCode::kSparseRead:
      return sparse_read();
    case OpCode::kMapExtents:
      return map_extents();
    case OpCode::kStat:
      return stat();
    case OpCode::kGetXattr:
      return get_xattr();
    case OpCode::kCmpExt:
      return compare();
    // The rest of these is done when the op has its turn no more: service/watch_ops.h.
    case OpCode::kWatch:
    case OpCode::kNotify:
    case OpCode::kListWatchers:
      return stat();
    case OpCode::kUnwatch:
    case OpCode::kNotifyAck:
      return run_.step_done(OsdErrc::kOk);
    default:
      return run_.step_done(OsdErrc::kInvalid);
  }
}

// As long as the object is; unlike a range, an absent object is not empty.
void ReadingSteps::read_whole() {
  store().data.stat(object(), [this](Result<ObjectData::Stat> stat) {
    if (!stat) return run_.step_done(wire_error(stat.error()));
    if (stat->size > cursor_.env().limits.max_metadata_bytes)
      return run_.step_done(OsdErrc::kTooLarge);
    if (stat->size == 0) return run_.step_done(OsdErrc::kOk);
    const Bytes into = cursor_.buffer().bytes().first(stat->size);
    store().data.read(object(), 0, into, [this, size = stat->size](std::error_code error) {
      if (error) return run_.step_done(wire_error(error));
      cursor_.add_data(whole_data(size));
      run_.step_done(OsdErrc::kOk);
    });
  });
}

// A small object is copied, so that its reply does not keep a buffer for the largest.
ReplyData ReadingSteps::whole_data(std::size_t size) {
  constexpr std::size_t kSmall = 4096;
  ReplyData data;
  msgr::RegisteredBuffer buffer = std::move(cursor_.buffer());
  if (size <= kSmall) {
    const ConstBytes bytes = buffer.bytes().first(size);
    data.small.assign(bytes.begin(), bytes.end());
  } else {
    data.buffer = std::move(buffer);
    data.length = size;
  }
  return data;
}

void ReadingSteps::read() {
  if (cursor_.step().length == 0) return read_whole();
  store().data.read(object(), cursor_.step().offset, cursor_.buffer().bytes(),
                    [this](std::error_code error) {
                      error = absent_is_zero(error);
                      if (!error) {
                        ReplyData data;
                        data.buffer = std::move(cursor_.buffer());
                        data.length = cursor_.step().length;
                        cursor_.add_data(std::move(data));
                      }
                      run_.step_done(wire_error(error));
                    });
}

void ReadingSteps::sparse_read() {
  store().data.map_extents(object(), cursor_.step().offset, cursor_.step().length,
                           [this](Result<objecter::ExtentMap> map) {
                             if (!map) return run_.step_done(wire_error(map.error()));
                             extents_ = std::move(*map);
                             join_extents(extents_, objecter::max_extents(cursor_.step().length));
                             cursor_.add_data(encoded(extents_));
                             read_extent(0, 0);
                           });
}

void ReadingSteps::read_extent(std::size_t number, uint64_t filled) {
  if (number == extents_.extents.size()) {
    ReplyData data;
    data.buffer = std::move(cursor_.buffer());
    data.length = filled;
    if (filled > 0) cursor_.add_data(std::move(data));
    return run_.step_done(OsdErrc::kOk);
  }
  const auto [offset, length] = extents_.extents[number];
  store().data.read(object(), offset, cursor_.buffer().bytes().subspan(filled, length),
                    [this, number, filled, length = length](std::error_code error) {
                      error = absent_is_zero(error);
                      if (error) return run_.step_done(wire_error(error));
                      read_extent(number + 1, filled + length);
                    });
}

void ReadingSteps::map_extents() {
  store().data.map_extents(object(), cursor_.step().offset, cursor_.step().length,
                           [this](Result<objecter::ExtentMap> map) {
                             if (!map) return run_.step_done(wire_error(map.error()));
                             join_extents(*map, objecter::max_extents(cursor_.step().length));
                             cursor_.add_data(encoded(*map));
                             run_.step_done(OsdErrc::kOk);
                           });
}

void ReadingSteps::stat() {
  store().data.stat(object(), [this](Result<ObjectData::Stat> stat) {
    if (!stat) return run_.step_done(wire_error(stat.error()));
    cursor_.result().value = stat->size;
    run_.step_done(OsdErrc::kOk);
  });
}

void ReadingSteps::get_xattr() {
  store().names.get_xattr(object(), cursor_.step().name,
                          [this](Result<std::vector<std::byte>> value) {
                            if (!value) return run_.step_done(wire_error(value.error()));
                            ReplyData data;
                            data.small = std::move(*value);
                            cursor_.add_data(std::move(data));
                            run_.step_done(OsdErrc::kOk);
                          });
}

void ReadingSteps::compare() {
  store().data.read(
      object(), cursor_.step().offset, cursor_.buffer().bytes(), [this](std::error_code error) {
        error = absent_is_zero(error);
        if (error) return run_.step_done(wire_error(error));
        const Bytes stored = cursor_.buffer().bytes();
        const ConstBytes wanted = cursor_.data();
        const auto differ = std::mismatch(wanted.begin(), wanted.end(), stored.begin());
        if (differ.first == wanted.end()) return run_.step_done(OsdErrc::kOk);
        cursor_.result().value = static_cast<uint64_t>(std::distance(wanted.begin(), differ.first));
        run_.step_done(OsdErrc::kMiscompare);
      });
}

}  // namespace lunar::osd
