// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/early_receives.h"

#include <algorithm>

namespace lunar::msgr::rdma {
namespace {

// Moves what `is_wanted` from the one to the other. Keeps the order of both.
template <typename F>
std::vector<EarlyReceive> extract(std::vector<EarlyReceive>& held, F is_wanted) {
  const auto wanted = std::stable_partition(
      held.begin(), held.end(), [&](const auto& receive) { return !is_wanted(receive); });
  std::vector<EarlyReceive> out(wanted, held.end());
  held.erase(wanted, held.end());
  return out;
}

}  // namespace

void EarlyReceives::expect(uint32_t qp_num) {
  const MutexLock lock(mutex_);
  expected_.insert(qp_num);
}

void EarlyReceives::forget(uint32_t qp_num) {
  const MutexLock lock(mutex_);
  expected_.erase(qp_num);
}

std::vector<EarlyReceive> EarlyReceives::take(uint32_t qp_num) {
  return extract(held_, [qp_num](const auto& receive) { return receive.qp_num == qp_num; });
}

std::vector<EarlyReceive> EarlyReceives::take_unexpected() {
  if (held_.empty()) return {};
  return extract(held_, [this](const auto& receive) {
    const MutexLock lock(mutex_);
    return !expected_.contains(receive.qp_num);
  });
}

}  // namespace lunar::msgr::rdma
