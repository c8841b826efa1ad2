// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/dispatch_throttle.h"

#include <algorithm>

namespace lunar::msgr {
namespace {

constexpr uint64_t kSmall = 64u << 10;
constexpr int kWokenAtOnce = 16;  // the others ask by themselves, a little later

FairShares::Limits limits_for(uint64_t limit) noexcept {
  return {limit * 3, limit, std::min(kSmall, limit / 16)};
}

}  // namespace

DispatchThrottle::DispatchThrottle(uint64_t limit_bytes)
    : shares_(std::make_shared<FairShares>(limits_for(limit_bytes))) {}

bool DispatchThrottle::accepts(ThrottledReader& reader, const FairShares::Share& holder,
                               uint64_t bytes) {
  if (shares_->allows(holder, bytes)) {
    reader.unlink();
    return true;
  }
  if (!reader.is_linked()) readers_.push_back(reader);
  return false;
}

InlineFunction<void()> DispatchThrottle::releaser(FairShares::Held held) {
  return [self = shared_from_this(), held = std::move(held)]() mutable {
    held.give_back();
    self->wake();
  };
}

void DispatchThrottle::wake() {
  // resume() only asks the link to go on later: nothing arrives, and no reader comes or leaves,
  // inside it. Who is refused again goes to the end.
  for (int woken = 0; woken < kWokenAtOnce && !readers_.empty(); ++woken) {
    ThrottledReader& reader = readers_.front();
    readers_.pop_front();
    reader.resume();
  }
}

}  // namespace lunar::msgr
