// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <random>

#include "common/bytes.h"

namespace lunar {

// Fills `into` from the kernel's random numbers (getrandom). Good for keys and nonces. Thread-safe.
void random_bytes(Bytes into) noexcept;

uint64_t random_u64() noexcept;

// The engine for choices that need not be secret: backoff jitter, fault injection. A seed of 0
// takes one from the kernel; any other makes the run repeatable. Not thread-safe: one per owner.
using RandomEngine = std::mt19937_64;
RandomEngine seeded_engine(uint64_t seed);

// True with the given probability (0 … 1). Takes one number from the engine, whatever the result.
bool chance(RandomEngine& engine, double probability);

}  // namespace lunar
