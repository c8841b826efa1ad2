// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "msgr/net/network_stack.h"
#include "msgr/rdma/setup/stack_core.h"

namespace lunar::msgr::rdma {

class CmChannel;

// Connection setup by rdma_cm(7): it resolves addresses and exchanges QP numbers, PSNs and what
// each side accepts; the QPs and their verbs context stay ours. Its events are read on the service
// thread. A listener whose device is removed listens again when there is one.
// Thread-safe. Outlives its links, listeners and pending connects.
class Cm {
 public:
  explicit Cm(StackCore& core);
  ~Cm();

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done);
  // `local` has a port: another transport listens on it already.
  std::unique_ptr<Listener> listen(EventCenter& center, const Address& local,
                                   AcceptCallback on_accept);
  // Destroys the ids that are left. Called by a job of the service thread.
  void close();

 private:
  StackCore& core_;
  const std::shared_ptr<CmChannel> channel_;
};

}  // namespace lunar::msgr::rdma
