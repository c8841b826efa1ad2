// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/bytes.h"

namespace lunar::tools {

// Calls sink(offset, length) for each run of data that is not all zeroes, found in steps of
// `grain` bytes. Pure.
template <typename Sink>
void for_each_nonzero_run(ConstBytes data, std::size_t grain, Sink&& sink);

bool is_zero(ConstBytes data) noexcept;

template <typename Sink>
void for_each_nonzero_run(ConstBytes data, std::size_t grain, Sink&& sink) {
  std::size_t begin = 0, length = 0;
  for (std::size_t at = 0; at < data.size(); at += grain) {
    const std::size_t step = std::min(grain, data.size() - at);
    if (!is_zero(data.subspan(at, step))) {
      if (length == 0) begin = at;
      length = at + step - begin;
    } else if (length != 0) {
      sink(begin, length);
      length = 0;
    }
  }
  if (length != 0) sink(begin, length);
}

}  // namespace lunar::tools
