// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/workload.h"

#include <algorithm>
#include <bit>

namespace lunar::iscsi_load {

const char* name_of(OpKind kind) {
  static constexpr const char* kNames[kNumOpKinds] = {
      "read", "write", "unmap", "write_same", "compare_and_write", "sync"};
  return kNames[static_cast<size_t>(kind)];
}

// Not a standard distribution: those differ between libraries, but a seed must give one sequence.
uint64_t Workload::below(uint64_t limit) { return random_() % limit; }

OpKind Workload::pick_kind() {
  constexpr uint64_t kShare = 5;  // percent
  uint64_t dice = below(100);
  OpKind others[] = {OpKind::kUnmap, OpKind::kWriteSame, OpKind::kCompareAndWrite, OpKind::kSync};
  bool wanted[] = {options_.max_unmap_blocks > 0, options_.max_write_same_blocks > 0,
                   options_.max_compare_and_write_blocks > 0, options_.sync_and_fua};
  uint64_t taken = 0;
  for (size_t i = 0; i < std::size(others); ++i) {
    if (!wanted[i]) continue;
    if (dice >= taken && dice < taken + kShare) return others[i];
    taken += kShare;
  }
  return below(100) < options_.read_percent ? OpKind::kRead : OpKind::kWrite;
}

// Every power of two is as likely as any other, and the maximum itself is among them.
uint64_t Workload::pick_length(uint64_t max_blocks) {
  uint64_t base = uint64_t{1} << below(std::bit_width(max_blocks));
  return std::min(max_blocks, one_in(4) ? base : base + below(base));
}

BlockRange Workload::pick_range(uint64_t max_blocks) {
  uint64_t span = options_.span.num_blocks;
  uint64_t length = std::min(pick_length(std::min(max_blocks, span)), span);
  uint64_t room = span - length + 1;
  uint64_t start = 0;  // in the span
  uint64_t first_boundary = options_.boundary_blocks - options_.span.lba % options_.boundary_blocks;
  uint64_t dice = below(10);
  if (dice < 3 && first_boundary < span) {
    uint64_t num_boundaries = (span - 1 - first_boundary) / options_.boundary_blocks + 1;
    uint64_t boundary = first_boundary + options_.boundary_blocks * below(num_boundaries);
    uint64_t before = below(length + 1);
    start = boundary > before ? boundary - before : 0;
  } else if (dice < 6) {
    start = below(std::min(room, std::max<uint64_t>(span / 16, 1)));  // a busy corner
  } else {
    start = below(room);
  }
  return {options_.span.lba + std::min(start, room - 1), length};
}

// Within an aligned stretch of at most 8 blocks, so that no stripe unit is ever crossed.
BlockRange Workload::pick_compare_and_write_range() {
  uint64_t window = std::bit_floor(std::min<uint64_t>(options_.max_compare_and_write_blocks, 8));
  BlockRange range = pick_range(window);
  uint64_t room = window - range.lba % window;
  range.num_blocks = std::min(range.num_blocks, room);
  return range;
}

Op Workload::next() {
  Op op;
  op.kind = pick_kind();
  op.fua = options_.sync_and_fua && one_in(8);
  switch (op.kind) {
    case OpKind::kSync:
      return op;
    case OpKind::kRead:
      op.range = pick_range(options_.max_op_blocks);
      return op;
    case OpKind::kUnmap:
      op.range = pick_range(options_.max_unmap_blocks);
      return op;
    case OpKind::kWrite:
      op.range = pick_range(options_.max_op_blocks);
      op.content = ++last_generation_;
      return op;
    case OpKind::kWriteSame:
      op.range = pick_range(options_.max_write_same_blocks);
      op.unmap = options_.write_same_unmap && one_in(2);
      op.content = op.unmap ? kZeroes : ++last_generation_ | kSameBlock;
      return op;
    case OpKind::kCompareAndWrite:
      op.range = pick_compare_and_write_range();
      op.miscompare = one_in(4);
      op.content = ++last_generation_;
      return op;
  }
  return op;
}

}  // namespace lunar::iscsi_load
