// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/one_sided_counters.h"

namespace lunar::osd {

void OneSidedCounters::count(PullFault fault) noexcept {
  switch (fault) {
    case PullFault::kNone:
      return;
    case PullFault::kStale:
      return pull_stale.add();
    case PullFault::kLeaseOver:
      return pull_lease_over.add();
    case PullFault::kFailed:
      return pull_failed.add();
    case PullFault::kDamaged:
      return pull_damaged.add();
    case PullFault::kNoMemory:
      return pull_no_memory.add();
    case PullFault::kGivenUp:
      return pull_given_up.add();
  }
}

}  // namespace lunar::osd
