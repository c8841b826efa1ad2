// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "tools/perf_msgr/load.h"

namespace lunar::perf_msgr {

// What answers the clients on one loop. Loop-bound.
class Server {
 public:
  virtual ~Server() = default;  // REQUIRES: shutdown() is done
  virtual msgr::Address address() const = 0;
  virtual void shutdown(InlineFunction<void()> done) = 0;
};

// Both listen at once; port 0 takes any free one. At link level there is no authentication: an
// address that is not loopback is refused if `environment.messenger` requires some.
Outcome<std::unique_ptr<Server>> make_link_server(msgr::EventCenter& center,
                                                  const Environment& environment,
                                                  const msgr::Address& address);
Outcome<std::unique_ptr<Server>> make_messenger_server(msgr::EventCenter& center,
                                                       const Environment& environment,
                                                       const msgr::Address& address);

}  // namespace lunar::perf_msgr
