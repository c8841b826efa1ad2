// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/file.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/address.h"
#include "msgr/event_center.h"
#include "msgr/net/network_stack.h"

namespace lunar::msgr {

// Accepts on a listening, non-blocking socket, which it takes: `on_accept` gets each connection,
// non-blocking, and may destroy the listener. `local` is what local_address() says. Loop-bound.
Result<std::unique_ptr<Listener>> make_socket_listener(EventCenter& center, UniqueFd fd,
                                                       const Address& local,
                                                       UniqueFunction<void(UniqueFd)> on_accept);

}  // namespace lunar::msgr
