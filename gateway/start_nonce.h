// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/unique_function.h"
#include "gateway/client.h"

namespace lunar::gateway {

// Which nonce a start of a gateway takes, so that it is newer than every earlier start of the same
// instance, whatever its clock says: servers refuse an older one. Those that would refuse it are
// asked: each keeps durably which starts it has seen. docs/decisions.md says why no counter is kept
// beside.

struct KnownStarts {
  uint64_t newest = 0;                  // the greatest nonce that was seen or fenced; 0: none
  std::vector<objecter::OsdId> silent;  // servers that are down or did not answer in time
};

// Asks every server of the map which starts of `instance` it knows; `probe` is of the same entity
// and of another instance. Loop-bound to its center; `done` runs once, later, soon after `patience`
// at the latest.
void find_known_starts(Client& probe, const std::string& instance,
                       std::chrono::nanoseconds patience, UniqueFunction<void(KnownStarts)> done);

// Newer than the known ones, and also than those of a server that did not answer if the clock (in
// microseconds) was right then and is now. Two that start at once differ by `random`. Pure.
uint64_t nonce_after(const KnownStarts& known, uint64_t clock, uint64_t random) noexcept;

}  // namespace lunar::gateway
