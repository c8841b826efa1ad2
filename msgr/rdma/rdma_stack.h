// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/perf_counters.h"
#include "msgr/net/network_stack.h"
#include "msgr/posix/posix_stack.h"
#include "msgr/rdma/rdma_options.h"

namespace lunar::msgr::rdma {

struct StackCore;
class Cm;

// RDMA, with TCP beside it: every connection begins there, is carried over to RDMA by upgrade()
// once it is authenticated, and stays there if RDMA cannot carry it. With rdma_cm a listener
// listens by both on one port. Devices are opened when a connection first needs one.
// Thread-safe. Owns its buffers, its service thread and the TCP stack.
class RdmaStack final : public NetworkStack {
 public:
  // `posix.buffers` is replaced by the stack's own. A sentence if RDMA cannot work here and
  // options do not allow TCP in its place. Blocks for a moment.
  static Outcome<std::unique_ptr<RdmaStack>> create(RdmaOptions options, PosixStackOptions posix,
                                                    PerfRegistry* perf);
  ~RdmaStack() override;

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override;
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override;
  std::unique_ptr<LinkUpgrade> upgrade(EventCenter& center, const Link& over) override;
  // Without a device, too: there may be one later, and each link says what it can do.
  bool supports_one_sided() const noexcept override { return true; }
  BufferPool& buffers() noexcept override;
  BufferPool& front_end_buffers() noexcept override;

 private:
  explicit RdmaStack(std::unique_ptr<StackCore> core);
  const std::unique_ptr<StackCore> core_;
  std::unique_ptr<PosixStack> posix_;
  std::unique_ptr<Cm> cm_;  // if options say so
};

}  // namespace lunar::msgr::rdma
