// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/run_in_time.h"

#include <atomic>

namespace lunar::bstore_plugin {
namespace {

std::atomic<int> calls_under_way{0};

}  // namespace

bool begin_bounded_call() noexcept {
  if (calls_under_way.fetch_add(1) < kMaxAbandonedCalls) return true;
  calls_under_way.fetch_sub(1);
  return false;
}

void end_bounded_call() noexcept { calls_under_way.fetch_sub(1); }

}  // namespace lunar::bstore_plugin
