// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <system_error>

#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "objecter/watch_handler.h"

namespace lunar::gateway {

// The watch of an open image on its header object. Loop-bound. Borrows the client and the handler,
// which outlive it. It lives until begin() has ended, and while is_on(): the objecter has the
// handler until then.
class HeaderWatch {
 public:
  HeaderWatch(Client& client, objecter::ObjectId header, uint64_t cookie,
              objecter::WatchHandler& handler);

  // It was begun, and neither failed nor was lost.
  bool is_on() const noexcept { return is_on_; }
  // Success: the handler hears of notifies until end() or on_lost(). Errors as those of
  // Objecter::watch(). REQUIRES: !is_on().
  Task<std::error_code> begin();
  // The handler was told that the watch is lost.
  void on_lost() noexcept { is_on_ = false; }
  // Ends it; `done` runs when the server has said so, or soon if it was not on. `done` holds what
  // the handler is in.
  void end(UniqueFunction<void(std::error_code)> done);

 private:
  Client& client_;
  const objecter::ObjectId header_;
  const uint64_t cookie_;
  objecter::WatchHandler& handler_;
  bool is_on_ = false;
};

}  // namespace lunar::gateway
