// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/stack_upgrade.h"

#include "common/log.h"
#include "msgr/errors.h"

namespace lunar::msgr::rdma {

std::chrono::nanoseconds StackUpgrade::time_limit() const noexcept {
  return core_.options.fallback_timeout;
}

void StackUpgrade::succeeded() noexcept { core_.counters.link_made(true); }

bool StackUpgrade::may_stay(const Error& why) {
  if (why.code == MsgrErrc::kFeatureMismatch) {
    LUNAR_LOG(kMs, 1, "link with {} is TCP: {}", peer_.to_string(), why.message);
  } else {
    LUNAR_LOG(kMs, 0, "link with {} {} RDMA: {}", peer_.to_string(),
              core_.options.may_fall_back ? "falls back to TCP from" : "cannot use", why.message);
    core_.counters.fell_back(why.code);
  }
  if (core_.options.may_fall_back) core_.counters.link_made(false);
  return core_.options.may_fall_back;
}

}  // namespace lunar::msgr::rdma
