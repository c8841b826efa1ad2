// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/turn_pacing.h"

namespace lunar::bstore_plugin {

bool TurnPacing::must_put_off() noexcept {
  const bool has_company = under_way_ > 1;
  if (std::exchange(has_new_commands_, false) && has_company && put_off_ < kMaxPutOff) {
    ++put_off_;
    return true;
  }
  put_off_ = 0;
  return false;
}

bool TurnPacing::wants_turn(TimePoint now) noexcept {
  if (!window_.is_enabled() || under_way_ == 0) return false;
  if (!std::exchange(is_waiting_, true)) waiting_since_ = now;
  return now - waiting_since_ < window_.get();
}

void TurnPacing::on_readable(TimePoint now) noexcept {
  has_posts_ = false;
  if (std::exchange(is_waiting_, false)) window_.on_work_after(now - waiting_since_);
}

}  // namespace lunar::bstore_plugin
