// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "msgr/address.h"
#include "msgr/net/network_stack.h"
#include "msgr/rdma/setup/cm.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {

// An upgrade from TCP by rdma_cm: each side gives the other a ticket, and the connector connects
// with them to `peer`, on whose number the acceptor listens by TCP and rdma_cm. The acceptor makes
// no QP before the ticket comes. Loop-bound. Borrows core and cm.
std::unique_ptr<LinkUpgrade> make_cm_upgrade(StackCore& core, Cm& cm, EventCenter& center,
                                             const Address& peer);

}  // namespace lunar::msgr::rdma
