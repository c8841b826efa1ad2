// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/bytes.h"

namespace lunar::gateway {

// What an IO on an image does.
enum class IoType : uint8_t {
  kRead,
  kWrite,
  kDiscard,      // the range reads as zeroes afterwards, and its space is freed
  kWriteZeroes,  // as kDiscard
  kWriteSame,    // one block's data, repeated
  kCompareAndWrite,
  kOrWrite,
  kFlush,
};

// What one IO is to do. A value; the memory it names is borrowed until the IO's done.
struct IoWork {
  IoType type = IoType::kRead;
  uint64_t offset = 0;  // in the image, bytes
  uint64_t length = 0;  // bytes
  Bytes read_into;      // IoType::kRead
  ConstBytes data;      // to write; the pattern of a write same; what to compare with
  ConstBytes second;    // compare and write: what to write

  static IoWork read(uint64_t offset, Bytes into) noexcept {
    IoWork work = on_range(IoType::kRead, offset, into.size());
    work.read_into = into;
    return work;
  }
  static IoWork write(uint64_t offset, ConstBytes from) noexcept {
    return with_data(IoType::kWrite, offset, from.size(), from);
  }
  static IoWork or_write(uint64_t offset, ConstBytes from) noexcept {
    return with_data(IoType::kOrWrite, offset, from.size(), from);
  }
  static IoWork write_same(uint64_t offset, uint64_t length, ConstBytes pattern) noexcept {
    return with_data(IoType::kWriteSame, offset, length, pattern);
  }
  static IoWork compare_and_write(uint64_t offset, ConstBytes compare, ConstBytes write) noexcept {
    IoWork work = with_data(IoType::kCompareAndWrite, offset, compare.size(), compare);
    work.second = write;
    return work;
  }
  static IoWork discard(uint64_t offset, uint64_t length) noexcept {
    return on_range(IoType::kDiscard, offset, length);
  }
  static IoWork write_zeroes(uint64_t offset, uint64_t length) noexcept {
    return on_range(IoType::kWriteZeroes, offset, length);
  }
  bool changes() const noexcept { return type != IoType::kRead && type != IoType::kFlush; }
  // May be done twice: nobody else can tell, or undo a part of it in between.
  bool is_repeatable() const noexcept {
    return type != IoType::kOrWrite && type != IoType::kCompareAndWrite;
  }

  static IoWork flush() noexcept { return on_range(IoType::kFlush, 0, 0); }

 private:
  static IoWork on_range(IoType type, uint64_t offset, uint64_t length) noexcept {
    IoWork work;
    work.type = type;
    work.offset = offset;
    work.length = length;
    return work;
  }
  static IoWork with_data(IoType type, uint64_t offset, uint64_t length, ConstBytes data) noexcept {
    IoWork work = on_range(type, offset, length);
    work.data = data;
    return work;
  }
};

}  // namespace lunar::gateway
