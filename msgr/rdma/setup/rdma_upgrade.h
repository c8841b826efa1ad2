// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "msgr/address.h"
#include "msgr/net/network_stack.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {

// An upgrade from TCP to an RC connection between the same two addresses: prepare() finds device
// and worker and makes a QP, complete() connects it. What blocks runs on the service thread; an
// upgrade that is given up leaves its QP to that thread.
std::unique_ptr<LinkUpgrade> make_rdma_upgrade(StackCore& core, EventCenter& center,
                                               const Address& local, const Address& peer);

}  // namespace lunar::msgr::rdma
