// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/reading_steps.h"

#include <algorithm>
#include <utility>

#include "osd/ops/op_run.h"
#include "osd/ops/reply_data.h"

namespace lunar::osd {
namespace {

// An absent object reads as zeroes, which is what the store has put into the buffer.
std::error_code absent_is_zero(std::error_code error) noexcept {
  return error == make_error_code(OsdErrc::kNoSuchObject) ? std::error_code() : error;
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
      cursor_.add_data(whole_object_data(std::move(cursor_.buffer()), size));
      run_.step_done(OsdErrc::kOk);
    });
  });
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
                             cursor_.add_data(extent_map_data(extents_));
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
                             cursor_.add_data(extent_map_data(*map));
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
