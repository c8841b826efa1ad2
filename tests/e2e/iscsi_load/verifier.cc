// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/verifier.h"

#include <algorithm>
#include <fstream>

namespace lunar::iscsi_load {
namespace {

constexpr char kStateHeader[] = "lunar-iscsi-load history 1";

std::string name_of(Content content) {
  if (content == kZeroes) return "zeroes";
  if (content == kAnything) return "anything";
  return "generation " + std::to_string(generation_of(content)) +
         ((content & kSameBlock) ? " of write same" : "");
}

}  // namespace

std::string Mismatch::to_string() const {
  return "lba " + std::to_string(lba) + ": expected " + expected + ", got " + got;
}

Verifier::Verifier(Pattern pattern, uint64_t num_blocks, Content initial)
    : pattern_(pattern),
      num_blocks_(num_blocks),
      initial_(initial),
      chunks_((num_blocks + kChunkBlocks - 1) / kChunkBlocks) {}

Content Verifier::at(uint64_t lba) const {
  const Chunk& chunk = chunks_[lba / kChunkBlocks];
  return chunk ? chunk[lba % kChunkBlocks] : initial_;
}

Content& Verifier::slot(uint64_t lba) {
  Chunk& chunk = chunks_[lba / kChunkBlocks];
  if (!chunk) {
    chunk = std::make_unique<Content[]>(kChunkBlocks);
    std::fill_n(chunk.get(), kChunkBlocks, initial_);
  }
  return chunk[lba % kChunkBlocks];
}

void Verifier::wrote(BlockRange range, Content content) {
  for (uint64_t lba = range.lba; lba < range.end(); ++lba) {
    Content& held = slot(lba);
    if (held == kSeveral) alternatives_.erase(lba);
    held = content;
  }
}

void Verifier::may_have_written(BlockRange range, Content content) {
  for (uint64_t lba = range.lba; lba < range.end(); ++lba) {
    Content& held = slot(lba);
    if (held == content || held == kAnything) continue;  // nothing becomes less certain
    auto& candidates = alternatives_[lba];
    if (held != kSeveral) candidates.push_back(held);
    if (std::find(candidates.begin(), candidates.end(), content) == candidates.end()) {
      candidates.push_back(content);
    }
    held = kSeveral;
  }
}

std::optional<Mismatch> Verifier::check_read(BlockRange range, std::span<const std::byte> data) {
  std::optional<Mismatch> first;
  uint32_t block_bytes = pattern_.block_bytes();
  for (uint64_t i = 0; i < range.num_blocks; ++i) {
    auto mismatch = check_block(range.lba + i, data.subspan(i * block_bytes, block_bytes));
    if (mismatch && !first) first = std::move(mismatch);
  }
  return first;
}

std::optional<Mismatch> Verifier::check_block(uint64_t lba, std::span<const std::byte> block) {
  Content held = at(lba);
  if (held != kSeveral) {
    if (pattern_.matches(lba, held, block)) return std::nullopt;
    return Mismatch{lba, describe_expected(lba), pattern_.describe(lba, block)};
  }
  for (Content candidate : alternatives_.at(lba)) {
    if (!pattern_.matches(lba, candidate, block)) continue;
    wrote({lba, 1}, candidate);
    return std::nullopt;
  }
  return Mismatch{lba, describe_expected(lba), pattern_.describe(lba, block)};
}

std::string Verifier::describe_expected(uint64_t lba) const {
  Content held = at(lba);
  if (held != kSeveral) return name_of(held);
  std::string text;
  for (Content candidate : alternatives_.at(lba)) {
    text += (text.empty() ? "" : " or ") + name_of(candidate);
  }
  return text;
}

std::optional<std::vector<Content>> Verifier::known_contents(BlockRange range) const {
  std::vector<Content> contents;
  for (uint64_t lba = range.lba; lba < range.end(); ++lba) {
    contents.push_back(at(lba));
    if (contents.back() == kSeveral || contents.back() == kAnything) return std::nullopt;
  }
  return contents;
}

std::vector<BlockRange> Verifier::touched(uint64_t max_blocks) const {
  std::vector<BlockRange> ranges;
  for (size_t i = 0; i < chunks_.size(); ++i) {
    if (!chunks_[i]) continue;
    uint64_t lba = i * kChunkBlocks;
    uint64_t end = std::min(lba + kChunkBlocks, num_blocks_);
    for (; lba < end; lba += max_blocks) ranges.push_back({lba, std::min(max_blocks, end - lba)});
  }
  return ranges;
}

std::string Verifier::save(const std::string& path) const {
  std::ofstream file(path, std::ios::trunc);
  file << kStateHeader << '\n' << num_blocks_ << ' ' << initial_ << '\n';
  for (size_t i = 0; i < chunks_.size(); ++i) {
    if (!chunks_[i]) continue;
    // Runs of equal content: "lba count content", or for several "lba 1 - content content …".
    uint64_t end = std::min((i + 1) * kChunkBlocks, num_blocks_);
    for (uint64_t lba = i * kChunkBlocks; lba < end;) {
      Content held = at(lba);
      uint64_t run = 1;
      while (held != kSeveral && lba + run < end && at(lba + run) == held) ++run;
      file << lba << ' ' << run;
      if (held != kSeveral) {
        file << ' ' << held;
      } else {
        for (Content candidate : alternatives_.at(lba)) file << ' ' << candidate;
      }
      file << '\n';
      lba += run;
    }
  }
  file.close();
  return file ? "" : "cannot write " + path;
}

std::string Verifier::load(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line) || line != kStateHeader) return path + " holds no history";
  uint64_t num_blocks = 0;
  if (!(file >> num_blocks >> initial_)) return path + " is damaged";
  if (num_blocks > num_blocks_) return path + " is of a larger LUN";
  chunks_ = std::vector<Chunk>(chunks_.size());
  alternatives_.clear();
  std::getline(file, line);
  while (std::getline(file, line)) {
    char* at = line.data();
    BlockRange range;
    range.lba = std::strtoull(at, &at, 10);
    range.num_blocks = std::strtoull(at, &at, 10);
    if (range.num_blocks == 0 || range.lba > num_blocks ||
        range.num_blocks > num_blocks - range.lba) {
      return path + " is damaged";
    }
    bool is_first = true;
    while (*at == ' ') {
      auto content = static_cast<Content>(std::strtoul(at, &at, 10));
      is_first ? wrote(range, content) : may_have_written(range, content);
      is_first = false;
    }
  }
  return "";
}

}  // namespace lunar::iscsi_load
