// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/server/pool_purger.h"

#include <utility>

#include "common/log.h"

namespace lunar::osd {
namespace {
constexpr uint32_t kPage = 256;
bool is_any_name(const std::string&) { return true; }
}  // namespace

void PoolPurger::on_map(objecter::OsdMapRef map) {
  map_ = std::move(map);
  for (objecter::PoolId id = 1; id < map_->next_pool_id; ++id) {
    if (map_->find_pool(id) != nullptr)
      purged_.erase(id);
    else if (purged_.insert(id).second)
      queue_.push_back(id);
  }
  if (!busy_ && !queue_.empty()) next_page();
}

// False when there is nothing more to do now. A pool that a restored map brought back is left.
bool PoolPurger::goes_on() {
  if (stopping_) {
    busy_ = false;
    if (stopped_) std::exchange(stopped_, {})();
    return false;
  }
  if (!queue_.empty() && map_->find_pool(queue_.front()) != nullptr) {
    queue_.pop_front();
    cursor_.clear();
    page_.clear();
  }
  busy_ = !queue_.empty();
  return busy_;
}

void PoolPurger::next_page() {
  if (!goes_on()) return;
  const objecter::PoolId pool = queue_.front();
  names_.list(pool, cursor_, kPage, &is_any_name,
              [this, pool](Result<std::vector<std::string>> names) {
                if (names && !names->empty() && !stopping_) {
                  page_.assign(names->begin(), names->end());
                  cursor_ = page_.back();
                  return remove_next();
                }
                if (!names)
                  LUNAR_ERROR(kOsd, "pool {} cannot be purged: {}", pool, names.error().message());
                if (removed_ > 0)
                  LUNAR_LOG(kOsd, 1, "{} objects of removed pool {} purged", removed_, pool);
                removed_ = 0;
                if (!queue_.empty()) queue_.pop_front();
                cursor_.clear();
                next_page();
              });
}

void PoolPurger::remove_next() {
  if (!goes_on()) return;
  if (page_.empty()) return next_page();
  const ObjectId id{queue_.front(), std::move(page_.front())};
  page_.pop_front();
  ++removed_;
  remove_(id, [this] { remove_next(); });
}

void PoolPurger::stop(InlineFunction<void()> done) {
  stopping_ = true;
  if (!busy_) return done();
  stopped_ = std::move(done);
}

}  // namespace lunar::osd
