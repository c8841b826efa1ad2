// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>

#include "msgr/address.h"
#include "msgr/net/network_stack.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {

// An upgrade from TCP to RDMA, however the connection is made: what becomes of it is counted and
// logged. Loop-bound. Borrows the core.
class StackUpgrade : public LinkUpgrade {
 public:
  StackUpgrade(StackCore& core, const Address& peer) : core_(core), peer_(peer) {}

  std::chrono::nanoseconds time_limit() const noexcept final;
  void succeeded() noexcept final;
  bool may_stay(const Error& why) final;

 protected:
  StackCore& core_;
  const Address peer_;  // of the TCP link
};

}  // namespace lunar::msgr::rdma
