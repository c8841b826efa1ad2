// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/random.h"

#include <sys/random.h>

#include <cerrno>

#include "common/check.h"
#include "common/host.h"

namespace lunar {

void random_bytes(Bytes into) noexcept {
  if (SimulatedHost* host = simulated_host()) return host->fill_random(into);
  while (!into.empty()) {
    const ssize_t got = ::getrandom(into.data(), into.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    LUNAR_CHECK(got > 0, "getrandom gives no bytes");
    into = into.subspan(static_cast<std::size_t>(got));
  }
}

uint64_t random_u64() noexcept {
  uint64_t value = 0;
  random_bytes(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

RandomEngine seeded_engine(uint64_t seed) { return RandomEngine(seed != 0 ? seed : random_u64()); }

bool chance(RandomEngine& engine, double probability) {
  return static_cast<double>(engine() >> 11) * 0x1p-53 < probability;
}

}  // namespace lunar
