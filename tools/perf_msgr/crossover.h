// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tools/perf_msgr/load.h"

namespace lunar::perf_msgr {

// One size of one kind of IO, both ways. Ops per second: the median of the rounds.
struct CrossoverPoint {
  uint32_t bytes = 0;
  double inline_rate = 0;
  double one_sided_rate = 0;
};

struct Crossover {
  std::vector<CrossoverPoint> write_io;  // data in the request, against kPull
  std::vector<CrossoverPoint> read_io;   // data in the reply, against kPush
  // From which on one-sided is at least as fast for both, at every size measured; none: never.
  std::optional<uint32_t> threshold;
};

// The smallest size from which on one-sided is at least as fast at every size. Pure.
// REQUIRES: sizes grow.
std::optional<uint32_t> winning_size(std::span<const CrossoverPoint> points);

struct CrossoverOptions {
  uint32_t min_bytes = 4u << 10;
  uint32_t max_bytes = 1u << 20;
  uint32_t rounds = 3;  // of each pair, one right after the other
};

// Measures at the depth, connections and duration (of each single run) of `options`. Blocks.
Outcome<Crossover> find_crossover(const Environment& environment, LoadOptions options,
                                  const CrossoverOptions& range);

}  // namespace lunar::perf_msgr
