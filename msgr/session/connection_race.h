// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "msgr/address.h"

namespace lunar::msgr {

// Who a lossless peer is, as both sides see it: where it listens, then its nonce.
struct RaceRank {
  Address listening;
  uint64_t nonce = 0;
  friend auto operator<=>(const RaceRank&, const RaceRank&) = default;
};

// Two lossless peers connect to each other at once. True if our own connect is the one that goes
// on, which is so for the greater rank: of the two sides exactly one gets true. A peer with our
// very rank is ourselves; then the accepted link goes on.
inline bool wins_race(const RaceRank& ours, const RaceRank& theirs) noexcept {
  return ours > theirs;
}

}  // namespace lunar::msgr
