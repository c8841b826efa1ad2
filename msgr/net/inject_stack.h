// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "msgr/net/network_stack.h"

namespace lunar::msgr {

// ms_inject_*.
struct InjectOptions {
  uint64_t socket_failures = 0;  // one in about so many sends or receives breaks the link; 0: none
  double delay_probability = 0;  // share of received frames that are held back
  std::chrono::nanoseconds delay_max{std::chrono::seconds(1)};
  uint64_t seed = 0;  // 0: a random one

  bool has_any() const noexcept { return socket_failures != 0 || delay_probability > 0; }
};

// Any stack, with faults: links that break with kInjected between frames or in the middle of one,
// and frames that come late. Order is kept. The faults of the n-th link depend on the seed alone.
// Thread-safe. Borrows the stack it decorates, which outlives it.
class InjectStack final : public NetworkStack {
 public:
  InjectStack(NetworkStack& inner, const InjectOptions& options);

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override;
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override;
  std::unique_ptr<LinkUpgrade> upgrade(EventCenter& center, const Link& over) override;
  bool supports_one_sided() const noexcept override { return inner_.supports_one_sided(); }
  BufferPool& buffers() noexcept override { return inner_.buffers(); }
  BufferPool& front_end_buffers() noexcept override { return inner_.front_end_buffers(); }
  uint64_t seed() const noexcept { return options_.seed; }

 private:
  class InjectUpgrade;
  std::unique_ptr<Link> decorate(EventCenter& center, std::unique_ptr<Link> link);

  NetworkStack& inner_;
  InjectOptions options_;
  std::atomic<uint64_t> links_{0};
};

}  // namespace lunar::msgr
