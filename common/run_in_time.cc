// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/run_in_time.h"

#include <atomic>

namespace lunar {
namespace {

std::atomic<int> calls_under_way{0};

}  // namespace

bool begin_bounded_call() noexcept {
  if (calls_under_way.fetch_add(1) < kMaxAbandonedCalls) return true;
  calls_under_way.fetch_sub(1);
  return false;
}

void end_bounded_call() noexcept { calls_under_way.fetch_sub(1); }

}  // namespace lunar
