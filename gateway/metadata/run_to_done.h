// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "common/task.h"
#include "common/unique_function.h"
#include "msgr/awaiters.h"
#include "msgr/event_center.h"

namespace lunar::gateway {

template <typename T>
Detached await_then_finish(msgr::EventCenter& center, Task<T> task, UniqueFunction<void(T)> done,
                           std::shared_ptr<const bool> has_returned) {
  T result = co_await task;
  if (*has_returned) {
    done(std::move(result));
  } else {  // the task never had to wait; the post owns both, should the loop end first
    UniqueFunction<void()> later = [done = std::move(done), result = std::move(result)]() mutable {
      done(std::move(result));
    };
    center.post([later = std::move(later)]() mutable { later(); });
  }
}

// From a task to a `done`: runs `task`, and `done` with its result, exactly once, later, never
// inside this call. Owns both until then. Loop-bound to `center`, which outlives the task.
template <typename T>
void run_to_done(msgr::EventCenter& center, Task<T> task, UniqueFunction<void(T)> done) {
  const auto has_returned = std::make_shared<bool>(false);
  await_then_finish<T>(center, std::move(task), std::move(done), has_returned);
  *has_returned = true;
}

}  // namespace lunar::gateway
