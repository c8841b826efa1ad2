// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <poll.h>

#include <chrono>

#include "msgr/event_center.h"

namespace lunar::test {

// Drives an embedded center as a host loop would, until `done()` holds. False after `limit`, which
// only a broken test reaches.
template <typename Done>
bool turn_until(msgr::EventCenter& center, Done done,
                std::chrono::seconds limit = std::chrono::seconds(30)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    center.process();
    if (done()) return true;
    if (std::chrono::steady_clock::now() > end) return false;
    pollfd host{center.fd(), POLLIN, 0};
    poll(&host, 1, 1000);
  }
}

}  // namespace lunar::test
