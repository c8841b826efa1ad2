// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "msgr/net/network_stack.h"
#include "msgr/rdma/setup/cm_awaited.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {

class CmChannel;

// Connection setup by rdma_cm(7): it resolves addresses and exchanges QP numbers, PSNs and what
// each side accepts; the QPs and their verbs context stay ours. A peer gets a QP for a ticket that
// it was given. Events are read on the service thread. A listener whose device is removed listens
// again when there is one.
// Thread-safe. Outlives its links, listeners and pending connects.
class Cm {
 public:
  explicit Cm(StackCore& core);
  ~Cm();

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          const CmTickets& tickets, ConnectDone done);
  // Waits for a peer that connects so: from this call on it may come.
  std::unique_ptr<PendingConnect> await_peer(EventCenter& center, const CmTickets& tickets,
                                             ConnectDone done);
  // For whom is awaited. `local` has a port: another transport listens on it already.
  std::unique_ptr<Listener> listen(const Address& local);
  // Destroys the ids that are left. Called by a job of the service thread.
  void close();

 private:
  StackCore& core_;
  const std::shared_ptr<CmChannel> channel_;
  const std::shared_ptr<CmAwaited> awaited_ = std::make_shared<CmAwaited>();
};

}  // namespace lunar::msgr::rdma
