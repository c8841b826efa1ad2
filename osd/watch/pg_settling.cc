// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/pg_settling.h"

#include <algorithm>

#include "objecter/protocol/placement.h"

namespace lunar::osd {

using objecter::PoolInfo;
using std::chrono::milliseconds;

void PgSettling::on_serving(TimePoint now) {
  if (!serving_) serving_ = now;
}

void PgSettling::on_map(const objecter::OsdMapRef& map, TimePoint now) {
  if (map_ != nullptr) {
    for (const PoolInfo& pool : map->pools) {
      if (map_->find_pool(pool.id) == nullptr || !is_placed_alike(*map_, *map, pool.id))
        changed_[pool.id] = now;
    }
  }
  std::erase_if(changed_, [&](const auto& each) { return map->find_pool(each.first) == nullptr; });
  map_ = map;
}

objecter::WatchSettling PgSettling::of_pool(objecter::PoolId pool, TimePoint now) const {
  objecter::WatchSettling settling;
  settling.timeout = settling.settles_in = timeout_;
  if (!serving_) return settling;
  TimePoint since = *serving_;
  const auto changed = changed_.find(pool);
  if (changed != changed_.end()) since = std::max(since, changed->second);
  settling.settles_in =
      std::max(milliseconds(0), std::chrono::ceil<milliseconds>(since + timeout_ - now));
  return settling;
}

milliseconds PgSettling::served_for(TimePoint now) const {
  return serving_ ? std::chrono::floor<milliseconds>(now - *serving_) : milliseconds(0);
}

}  // namespace lunar::osd
