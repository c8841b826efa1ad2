// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/queue/credits.h"

namespace lunar::msgr::rdma {

bool CreditPool::reserve(uint32_t count) noexcept {
  uint32_t have = free_.load(std::memory_order_relaxed);
  while (have >= count) {
    if (free_.compare_exchange_weak(have, have - count, std::memory_order_relaxed)) return true;
  }
  return false;
}

uint32_t CreditPool::lend(uint32_t wanted) noexcept {
  const uint32_t kept = total() / 4;
  uint32_t have = free_.load(std::memory_order_relaxed);
  while (have > kept && wanted > 0) {
    const uint32_t take = std::min(wanted, have - kept);
    if (free_.compare_exchange_weak(have, have - take, std::memory_order_relaxed)) return take;
  }
  return 0;
}

void CreditPool::add(uint32_t count) noexcept {
  total_.fetch_add(count, std::memory_order_relaxed);
  free_.fetch_add(count, std::memory_order_relaxed);
}

bool CreditPool::is_low() const noexcept { return free() <= total() / 4; }

bool SendCredits::gain(uint16_t count) noexcept {
  if (count > UINT16_MAX - std::min<uint32_t>(in_hand_, UINT16_MAX)) return false;
  in_hand_ += count;
  return true;
}

bool ReceiveCredits::on_frames() noexcept {
  if (outstanding_ == 0) return false;
  --outstanding_;
  return true;
}

bool ReceiveCredits::on_returned(uint16_t count) noexcept {
  if (count > outstanding_ || count > window_ - base_) return false;
  outstanding_ -= count;
  window_ -= count;
  announced_ -= count;
  return true;
}

uint16_t ReceiveCredits::take_grant() noexcept {
  const uint32_t granted = std::min<uint32_t>(used_ + lent_, UINT16_MAX);
  const uint32_t lent = std::min(lent_, granted);
  lent_ -= lent;
  used_ -= granted - lent;
  announced_ += lent;
  outstanding_ += granted;
  return static_cast<uint16_t>(granted);
}

}  // namespace lunar::msgr::rdma
