// SPDX-License-Identifier: LGPL-2.1-or-later
// The content that every block of a LUN must have, given the writes and how they ended.
// Pure: no I/O. Not thread-safe. Memory is 4 bytes per block of the 4 MiB stretches touched.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/e2e/iscsi_load/pattern.h"

namespace lunar::iscsi_load {

struct BlockRange {
  uint64_t lba = 0;
  uint64_t num_blocks = 0;

  uint64_t end() const { return lba + num_blocks; }
  bool overlaps(const BlockRange& other) const { return lba < other.end() && other.lba < end(); }
};

// A block with content that it must not have.
struct Mismatch {
  uint64_t lba;
  std::string expected;  // "generation 12", "zeroes or generation 9", …
  std::string got;
  std::string to_string() const;
};

class Verifier {
 public:
  // `initial` is what blocks hold before the first write: kZeroes or kAnything.
  Verifier(Pattern pattern, uint64_t num_blocks, Content initial);

  const Pattern& pattern() const { return pattern_; }
  uint64_t num_blocks() const { return num_blocks_; }

  // The range holds `content` now: the write was answered with success.
  void wrote(BlockRange range, Content content);
  // Each block of the range holds `content` or what it held before, until a read tells.
  void may_have_written(BlockRange range, Content content);

  // Compares data that was read with the expected content, and returns the first mismatch, if any.
  // A block that can have several contents and matches one of them must keep that one.
  // REQUIRES: data is range.num_blocks whole blocks.
  std::optional<Mismatch> check_read(BlockRange range, std::span<const std::byte> data);

  // The content of the range, block by block; nothing unless that of every block is certain.
  std::optional<std::vector<Content>> known_contents(BlockRange range) const;

  // Number of blocks that can have one of several contents.
  uint64_t num_uncertain() const { return alternatives_.size(); }

  // The stretches in which something was ever written, in order, each at most max_blocks long.
  // They also cover neighbours that were not: those must still hold what they did initially.
  std::vector<BlockRange> touched(uint64_t max_blocks) const;

  // Keeps or brings back the whole history. Returns an empty string, or a sentence.
  // Loading replaces everything but the pattern's seed, which must be the same.
  std::string save(const std::string& path) const;
  std::string load(const std::string& path);

 private:
  static constexpr uint64_t kChunkBlocks = 8192;
  static constexpr Content kSeveral = 0x80000000;  // see alternatives_
  using Chunk = std::unique_ptr<Content[]>;

  Content at(uint64_t lba) const;
  Content& slot(uint64_t lba);
  std::optional<Mismatch> check_block(uint64_t lba, std::span<const std::byte> block);
  std::string describe_expected(uint64_t lba) const;

  Pattern pattern_;
  uint64_t num_blocks_;
  Content initial_;
  std::vector<Chunk> chunks_;  // null: never touched, all blocks hold initial_
  std::unordered_map<uint64_t, std::vector<Content>> alternatives_;  // of blocks with kSeveral
};

}  // namespace lunar::iscsi_load
