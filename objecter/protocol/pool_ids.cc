// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/pool_ids.h"

#include <algorithm>

namespace lunar::objecter {

bool PoolIdSet::has(PoolId id) const noexcept {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), id,
                       [](PoolId key, const PoolIdRange& range) { return key < range.from; });
  return after != ranges_.begin() && id < std::prev(after)->until;
}

bool PoolIdSet::is_well_formed() const noexcept {
  PoolId end = 0;
  for (const PoolIdRange& range : ranges_) {
    if (range.from <= end || range.until <= range.from) return false;
    end = range.until;
  }
  return true;
}

void PoolIdSet::append(PoolIdRange range) {
  if (range.from >= range.until) return;
  if (!ranges_.empty() && ranges_.back().until == range.from)
    ranges_.back().until = range.until;
  else
    ranges_.push_back(range);
}

std::string PoolIdSet::to_text() const {
  std::string text;
  for (const PoolIdRange& range : ranges_) {
    if (!text.empty()) text += ',';
    text += std::to_string(range.from);
    if (range.until - range.from > 1) text += '-' + std::to_string(range.until - 1);
  }
  return text;
}

}  // namespace lunar::objecter
