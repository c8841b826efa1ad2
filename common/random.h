// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <random>

#include "common/bytes.h"

namespace lunar {

// Fills `into` from the kernel's random numbers (getrandom(2)). Good for keys and nonces. Blocks
// only while the machine starts and has no entropy yet. Thread-safe.
void random_bytes(Bytes into) noexcept;

// A number from the same source, each of its 64 bits random. Thread-safe.
uint64_t random_u64() noexcept;

// The engine for choices that need not be secret: backoff jitter, fault injection. A seed of 0
// takes one from the kernel; any other makes the run repeatable. Not thread-safe: one per owner.
using RandomEngine = std::mt19937_64;
// REQUIRES: nothing of it is secret; what it gives can be foretold from some of it.
RandomEngine seeded_engine(uint64_t seed);

// True with `probability`, from 0 (never) to 1 (always). Takes one number from the engine, whatever
// the result.
bool chance(RandomEngine& engine, double probability);

}  // namespace lunar
