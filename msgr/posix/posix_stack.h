// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"
#include "msgr/net/network_stack.h"
#include "msgr/net/stream_link.h"

namespace lunar::msgr {

struct PosixStackOptions {
  StreamLinkOptions link;
  bool tcp_nodelay = true;
  std::string tcp_congestion;  // empty: the host's default
  uint32_t tcp_rcvbuf = 0;     // bytes; 0: the host's default, which adapts
  int backlog = 512;
  // Of received data and of replies, not yet given back: above the shares of both.
  std::size_t buffer_budget_bytes = 512u << 20;
  std::size_t buffer_cached_bytes = 32u << 20;  // of free slices kept
  BufferPool* buffers = nullptr;  // another's, borrowed, in place of a pool of its own
};

// TCP over IPv4 and IPv6. Thread-safe. Owns its buffer pool.
class PosixStack final : public NetworkStack {
 public:
  // A sentence if the kernel refuses an option.
  static Outcome<std::unique_ptr<PosixStack>> create(PosixStackOptions options);

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override;
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override;
  BufferPool& buffers() noexcept override { return buffers_; }
  const PosixStackOptions& options() const noexcept { return options_; }

 private:
  explicit PosixStack(PosixStackOptions options);
  const PosixStackOptions options_;
  const std::unique_ptr<BufferPool> own_buffers_;
  BufferPool& buffers_;
};

}  // namespace lunar::msgr
