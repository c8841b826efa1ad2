// SPDX-License-Identifier: LGPL-2.1-or-later
// The content of a block after a given write, from which the writer, the place and the time of the
// write can be told. Immutable; thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace lunar::iscsi_load {

// The content of one block, as four bytes per block of history.
using Content = uint32_t;

constexpr Content kZeroes = 0;
constexpr Content kAnything = 0x3fffffff;       // never written by us: not checked
constexpr Content kMaxGeneration = 0x3ffffffe;  // 1 … this: the write that put it there
// Set beside a generation: written by WRITE SAME, so the block does not hold its own LBA.
constexpr Content kSameBlock = 0x40000000;

inline uint32_t generation_of(Content content) { return content & ~kSameBlock; }

class Pattern {
 public:
  // Two runs with different seeds never mistake one's blocks for the other's.
  // REQUIRES: block_bytes is a multiple of 8 and at least 32.
  Pattern(uint64_t seed, uint32_t block_bytes) : seed_(seed), block_bytes_(block_bytes) {}

  uint32_t block_bytes() const { return block_bytes_; }

  // Fills consecutive blocks from `lba` on. REQUIRES: into.size() is a multiple of block_bytes().
  void fill(uint64_t lba, Content content, std::span<std::byte> into) const;

  // Whether one block is exactly that. Always true for kAnything.
  bool matches(uint64_t lba, Content content, std::span<const std::byte> block) const;

  // For a person: a description of a block that was not expected: "zeroes", "generation 7 of
  // lba 12", "torn: …", "another seed's …" or its first bytes.
  std::string describe(uint64_t lba, std::span<const std::byte> block) const;

 private:
  struct Words;
  Words words_of(uint64_t lba, Content content) const;
  void fill_block(uint64_t lba, Content content, std::byte* block) const;

  uint64_t seed_;
  uint32_t block_bytes_;
};

}  // namespace lunar::iscsi_load
