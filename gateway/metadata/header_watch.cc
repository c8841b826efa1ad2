// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_watch.h"

#include <utility>

#include "common/check.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {

HeaderWatch::HeaderWatch(Client& client, objecter::ObjectId header, uint64_t cookie,
                         objecter::WatchHandler& handler)
    : client_(client), header_(std::move(header)), cookie_(cookie), handler_(handler) {}

Task<std::error_code> HeaderWatch::begin() {
  LUNAR_CHECK(!is_on_, "a watch is begun twice");
  is_on_ = true;
  msgr::Completion<std::error_code> watched;
  client_.objecter().watch(header_, cookie_, handler_, watched.callback());
  const std::error_code error = co_await watched;
  if (error) is_on_ = false;
  co_return error;
}

void HeaderWatch::end(UniqueFunction<void(std::error_code)> done) {
  if (!std::exchange(is_on_, false)) {
    client_.center().post([done = std::move(done)]() mutable { done({}); });
    return;
  }
  client_.objecter().unwatch(header_, cookie_, std::move(done));
}

}  // namespace lunar::gateway
