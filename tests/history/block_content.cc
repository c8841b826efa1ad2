// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/block_content.h"

#include <algorithm>

#include "common/check.h"
#include "common/crc32c.h"

namespace lunar::test {
namespace {

constexpr uint64_t kMagic = 0x6b6c42726e754cull << 8 | 0x48;  // history

struct Head {
  le64 magic;
  le64 content;
  le64 lba;
  le32 writer;
  le32 crc;  // of the block with zero here
};
static_assert(sizeof(Head) == 32);

Head head_of(ConstBytes block) {
  Head head;
  std::memcpy(&head, block.data(), sizeof head);
  return head;
}

uint32_t crc_of(ConstBytes block) {
  Head head = head_of(block);
  head.crc = le32(0);
  const uint32_t crc = crc32c(0, {reinterpret_cast<const std::byte*>(&head), sizeof head});
  return crc32c(crc, block.subspan(sizeof head));
}

}  // namespace

void make_block(Bytes block, ContentId content, uint64_t lba, uint32_t writer) {
  LUNAR_CHECK(block.size() >= 64 && block.size() % 8 == 0, "a block holds its head and more");
  const bool is_bits = (content & kSetOfBits) != 0;
  uint64_t word = is_bits ? content : 0;
  const uint64_t step =
      content == kZeroContent || is_bits ? 0 : (content * 0x9e3779b97f4a7c15ull) | 1;
  for (std::size_t at = 0; at < block.size(); at += 8, word += step) {
    std::memcpy(block.data() + at, &word, 8);
  }
  if (step == 0) return;
  Head head;
  head.magic = kMagic;
  head.content = content;
  head.lba = lba;
  head.writer = writer;
  head.crc = 0;
  std::memcpy(block.data(), &head, sizeof head);
  head.crc = crc_of(block);
  std::memcpy(block.data(), &head, sizeof head);
}

ParsedBlock parse_block(ConstBytes block, uint64_t lba) {
  ParsedBlock parsed;
  uint64_t first = 0;
  std::memcpy(&first, block.data(), 8);
  const bool is_uniform = std::equal(block.begin() + 8, block.end(), block.begin());
  if (is_uniform && (first == 0 || (first & kSetOfBits) != 0)) {
    parsed.content = parsed.made_as = first;
    return parsed;
  }
  const Head head = head_of(block);
  if (is_uniform || head.magic.value() != kMagic || head.crc.value() != crc_of(block)) {
    parsed.content = parsed.made_as = kDamagedContent;
    return parsed;
  }
  parsed.made_as = parsed.content = head.content.value();
  parsed.lba = head.lba.value();
  parsed.writer = head.writer.value();
  if (parsed.lba != lba && parsed.lba != kAnyLba) parsed.content = kMisplacedContent;
  return parsed;
}

}  // namespace lunar::test
