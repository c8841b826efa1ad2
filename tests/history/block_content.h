// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/bytes.h"
#include "tests/history/history.h"

namespace lunar::test {

// For blocks that hold no LBA of their own: those of WRITE SAME.
inline constexpr uint64_t kAnyLba = ~uint64_t{0};

// Fills one block so that parse_block() knows it again: the content, the place, who wrote it, and
// bytes that differ between contents, under a check sum. kZeroContent makes zeroes, a set of bits
// (or_content()) the same word all over, which ORWRITE can change.
// REQUIRES: block.size() is a multiple of 8 and at least 64; `content` is not damaged or misplaced.
void make_block(Bytes block, ContentId content, uint64_t lba, uint32_t writer);

struct ParsedBlock {
  // kDamagedContent if the check sum is wrong, kMisplacedContent if it was made for another LBA.
  ContentId content = kZeroContent;
  ContentId made_as = kZeroContent;  // of a whole block, wherever it belongs
  uint64_t lba = kAnyLba;
  uint32_t writer = 0;  // 0 for zeroes and sets of bits
};
// What a block that was read at `lba` holds. Pure.
ParsedBlock parse_block(ConstBytes block, uint64_t lba);

}  // namespace lunar::test
