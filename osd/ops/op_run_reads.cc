// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstring>

#include "osd/ops/op_run.h"

// The steps that check or return something. Each ends in step_done().

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

ReplyPiece encoded(const objecter::ExtentMap& map) {
  ReplyPiece piece;
  encode(map, piece.small);
  return piece;
}

}  // namespace

void OpRun::start_reading_step() {
  switch (step().code) {
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
    default:
      return step_done(OsdErrc::kInvalid);
  }
}

// As long as the object is; unlike a range, an absent object is not empty.
void OpRun::read_whole() {
  env_.store.stat(op_->object, [this](Result<ObjectStore::Stat> stat) {
    if (!stat) return step_done(wire_error(stat.error()));
    if (stat->size > env_.limits.max_metadata_bytes) return step_done(OsdErrc::kTooLarge);
    if (stat->size == 0) return step_done(OsdErrc::kOk);
    const Bytes into = buffers_[index_].bytes().first(stat->size);
    env_.store.read(op_->object, 0, into, [this, size = stat->size](std::error_code error) {
      if (error) return step_done(wire_error(error));
      add_data(whole_piece(size));
      step_done(OsdErrc::kOk);
    });
  });
}

// A small object is copied, so that its reply does not keep a buffer for the largest.
ReplyPiece OpRun::whole_piece(std::size_t size) {
  constexpr std::size_t kSmall = 4096;
  ReplyPiece piece;
  msgr::RegisteredBuffer buffer = std::move(buffers_[index_]);
  if (size <= kSmall) {
    const ConstBytes bytes = buffer.bytes().first(size);
    piece.small.assign(bytes.begin(), bytes.end());
  } else {
    piece.buffer = std::move(buffer);
    piece.length = size;
  }
  return piece;
}

void OpRun::read() {
  if (step().length == 0) return read_whole();
  env_.store.read(op_->object, step().offset, buffers_[index_].bytes(),
                  [this](std::error_code error) {
                    error = absent_is_zero(error);
                    if (!error) {
                      ReplyPiece piece;
                      piece.buffer = std::move(buffers_[index_]);
                      piece.length = step().length;
                      add_data(std::move(piece));
                    }
                    step_done(wire_error(error));
                  });
}

void OpRun::sparse_read() {
  env_.store.map_extents(op_->object, step().offset, step().length,
                         [this](Result<objecter::ExtentMap> map) {
                           if (!map) return step_done(wire_error(map.error()));
                           extents_ = std::move(*map);
                           join_extents(extents_, objecter::max_extents(step().length));
                           add_data(encoded(extents_));
                           read_extent(0, 0);
                         });
}

void OpRun::read_extent(std::size_t number, uint64_t filled) {
  if (number == extents_.extents.size()) {
    ReplyPiece piece;
    piece.buffer = std::move(buffers_[index_]);
    piece.length = filled;
    if (filled > 0) add_data(std::move(piece));
    return step_done(OsdErrc::kOk);
  }
  const auto [offset, length] = extents_.extents[number];
  env_.store.read(op_->object, offset, buffers_[index_].bytes().subspan(filled, length),
                  [this, number, filled, length = length](std::error_code error) {
                    error = absent_is_zero(error);
                    if (error) return step_done(wire_error(error));
                    read_extent(number + 1, filled + length);
                  });
}

void OpRun::map_extents() {
  env_.store.map_extents(op_->object, step().offset, step().length,
                         [this](Result<objecter::ExtentMap> map) {
                           if (!map) return step_done(wire_error(map.error()));
                           join_extents(*map, objecter::max_extents(step().length));
                           add_data(encoded(*map));
                           step_done(OsdErrc::kOk);
                         });
}

void OpRun::stat() {
  env_.store.stat(op_->object, [this](Result<ObjectStore::Stat> stat) {
    if (!stat) return step_done(wire_error(stat.error()));
    step_result().value = stat->size;
    step_done(OsdErrc::kOk);
  });
}

void OpRun::get_xattr() {
  env_.store.get_xattr(op_->object, step().name, [this](Result<std::vector<std::byte>> value) {
    if (!value) return step_done(wire_error(value.error()));
    ReplyPiece piece;
    piece.small = std::move(*value);
    add_data(std::move(piece));
    step_done(OsdErrc::kOk);
  });
}

void OpRun::compare() {
  env_.store.read(
      op_->object, step().offset, buffers_[index_].bytes(), [this](std::error_code error) {
        error = absent_is_zero(error);
        if (error) return step_done(wire_error(error));
        const Bytes stored = buffers_[index_].bytes();
        const ConstBytes wanted = step_data();
        const auto differ = std::mismatch(wanted.begin(), wanted.end(), stored.begin());
        if (differ.first == wanted.end()) return step_done(OsdErrc::kOk);
        step_result().value = static_cast<uint64_t>(std::distance(wanted.begin(), differ.first));
        step_done(OsdErrc::kMiscompare);
      });
}

}  // namespace lunar::osd
