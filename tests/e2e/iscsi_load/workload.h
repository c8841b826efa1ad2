// SPDX-License-Identifier: LGPL-2.1-or-later
// The sequence of operations of a verify run, which depends on the options alone. Pure. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <random>

#include "tests/e2e/iscsi_load/verifier.h"

namespace lunar::iscsi_load {

enum class OpKind { kRead, kWrite, kUnmap, kWriteSame, kCompareAndWrite, kSync };
constexpr size_t kNumOpKinds = 6;
const char* name_of(OpKind kind);

struct Op {
  OpKind kind = OpKind::kRead;
  BlockRange range;           // empty for kSync
  Content content = kZeroes;  // that the range holds afterwards, for kinds that write
  bool fua = false;
  bool unmap = false;       // kWriteSame: with the UNMAP bit, and zeroes
  bool miscompare = false;  // kCompareAndWrite: compare with other content
};

struct WorkloadOptions {
  uint64_t seed = 1;
  BlockRange span;               // where operations go
  uint64_t max_op_blocks = 1;    // of reads, writes and WRITE SAME
  uint64_t boundary_blocks = 1;  // operations often cross multiples of this
  uint32_t read_percent = 50;
  // Of the other kinds, each a share of 5 %; 0 leaves the kind out.
  uint64_t max_unmap_blocks = 0;
  uint64_t max_write_same_blocks = 0;
  uint64_t max_compare_and_write_blocks = 0;
  bool write_same_unmap = false;
  bool sync_and_fua = false;
};

class Workload {
 public:
  // REQUIRES: span and max_op_blocks are not empty; read_percent is at most 100.
  explicit Workload(const WorkloadOptions& options) : options_(options), random_(options.seed) {}

  // Each operation that writes has a content of its own.
  Op next();

 private:
  uint64_t below(uint64_t limit);
  bool one_in(uint64_t n) { return below(n) == 0; }
  OpKind pick_kind();
  uint64_t pick_length(uint64_t max_blocks);
  BlockRange pick_range(uint64_t max_blocks);
  BlockRange pick_compare_and_write_range();

  WorkloadOptions options_;
  std::mt19937_64 random_;
  Content last_generation_ = 0;
};

}  // namespace lunar::iscsi_load
