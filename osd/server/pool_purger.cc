// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/server/pool_purger.h"

#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "msgr/awaiters.h"

namespace lunar::osd {
namespace {
constexpr uint32_t kPage = 256;
bool is_any_name(const std::string&) { return true; }
}  // namespace

void PoolPurger::on_map(objecter::OsdMapRef map) {
  map_ = std::move(map);
  for (objecter::PoolId id = 1; id < map_->next_pool_id; ++id) {
    if (is_kept(id))
      known_gone_.erase(id);
    else if (known_gone_.insert(id).second)
      queue_.push_back(id);
  }
  if (!is_running_ && !queue_.empty()) run();
}

Detached PoolPurger::run() {
  is_running_ = true;
  while (!is_stopping_ && !queue_.empty()) {
    const objecter::PoolId pool = queue_.front();
    queue_.pop_front();
    const uint64_t removed = co_await purge(pool);
    if (removed > 0) LUNAR_LOG(kOsd, 1, "{} objects of removed pool {} purged", removed, pool);
  }
  is_running_ = false;
  UniqueFunction<void()> stopped = std::move(stopped_);
  if (stopped) stopped();  // it may destroy this
}

// How many objects were removed.
Task<uint64_t> PoolPurger::purge(objecter::PoolId pool) {
  std::string cursor;
  uint64_t removed = 0;
  while (must_go(pool)) {
    msgr::Completion<Result<ObjectNames::Names>> listed;
    names_.list(pool, cursor, kPage, &is_any_name, listed.callback());
    const Result<ObjectNames::Names> names = co_await listed;
    if (!names) LUNAR_ERROR(kOsd, "pool {} cannot be purged: {}", pool, names.error().message());
    if (!names || names->empty()) break;
    cursor = names->back();
    for (const std::string& name : *names) {
      if (!must_go(pool)) break;
      const ObjectId id{pool, name};
      msgr::Completion<void> gone;
      remove_(id, gone.callback());
      co_await gone;
      ++removed;
    }
  }
  co_return removed;
}

void PoolPurger::stop(UniqueFunction<void()> done) {
  is_stopping_ = true;
  if (!is_running_) return done();
  stopped_ = std::move(done);
}

}  // namespace lunar::osd
