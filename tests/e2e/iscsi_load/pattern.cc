// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A block is 64-bit words: magic and content, LBA, seed, then an arithmetic sequence whose start
// and step come from all three. So a block that is torn, shifted or mixed from two writes matches
// nothing, and making or checking one costs an addition a word.
#include "tests/e2e/iscsi_load/pattern.h"

#include <cstdio>
#include <cstring>

namespace lunar::iscsi_load {
namespace {

constexpr uint64_t kMagic = 0x4c756e61ull << 32;  // "Luna"
constexpr uint64_t kNoLba = ~0ull;
constexpr size_t kHeaderWords = 3;

uint64_t mix(uint64_t x) {  // the finaliser of splitmix64
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

bool is_zero(std::span<const std::byte> block) {
  return block[0] == std::byte{0} &&
         std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
}

uint64_t word_at(const std::byte* block, size_t index) {
  uint64_t word;
  std::memcpy(&word, block + 8 * index, 8);
  return word;
}

}  // namespace

struct Pattern::Words {
  uint64_t header[kHeaderWords];
  uint64_t first;
  uint64_t step;
};

Pattern::Words Pattern::words_of(uint64_t lba, Content content) const {
  uint64_t own_lba = (content & kSameBlock) ? kNoLba : lba;
  uint64_t first = mix(seed_ + mix(own_lba + mix(content)));
  return {{kMagic | content, own_lba, seed_}, first, mix(first) | 1};
}

void Pattern::fill_block(uint64_t lba, Content content, std::byte* block) const {
  if (content == kZeroes || content == kAnything) {
    std::memset(block, 0, block_bytes_);
    return;
  }
  Words words = words_of(lba, content);
  std::memcpy(block, words.header, sizeof words.header);
  uint64_t value = words.first;
  for (size_t i = kHeaderWords; i < block_bytes_ / 8; ++i, value += words.step) {
    std::memcpy(block + 8 * i, &value, 8);
  }
}

void Pattern::fill(uint64_t lba, Content content, std::span<std::byte> into) const {
  for (size_t at = 0; at < into.size(); at += block_bytes_, ++lba) {
    fill_block(lba, content, into.data() + at);
  }
}

bool Pattern::matches(uint64_t lba, Content content, std::span<const std::byte> block) const {
  if (content == kAnything) return true;
  if (content == kZeroes) return is_zero(block);
  Words words = words_of(lba, content);
  if (std::memcmp(block.data(), words.header, sizeof words.header) != 0) return false;
  uint64_t value = words.first;
  uint64_t difference = 0;
  for (size_t i = kHeaderWords; i < block_bytes_ / 8; ++i, value += words.step) {
    difference |= word_at(block.data(), i) ^ value;
  }
  return difference == 0;
}

std::string Pattern::describe(uint64_t lba, std::span<const std::byte> block) const {
  if (is_zero(block)) return "zeroes";
  uint64_t magic = word_at(block.data(), 0);
  char text[160];
  if (magic >> 32 != kMagic >> 32) {
    std::snprintf(text, sizeof text, "not ours: %016llx %016llx …",
                  static_cast<unsigned long long>(__builtin_bswap64(magic)),
                  static_cast<unsigned long long>(__builtin_bswap64(word_at(block.data(), 1))));
    return text;
  }
  auto content = static_cast<Content>(magic);
  uint64_t its_lba = word_at(block.data(), 1);
  uint64_t its_seed = word_at(block.data(), 2);
  bool is_whole = Pattern(its_seed, block_bytes_)
                      .matches((content & kSameBlock) ? lba : its_lba, content, block);
  std::string where = its_lba == kNoLba ? "write same" : "lba " + std::to_string(its_lba);
  std::snprintf(text, sizeof text, "%sgeneration %u of %s%s", is_whole ? "" : "torn: begins with ",
                generation_of(content), where.c_str(), its_seed == seed_ ? "" : ", another seed's");
  return text;
}

}  // namespace lunar::iscsi_load
