// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "msgr/net/network_stack.h"

namespace lunar::msgr {

// Lends a stack, which outlives it, to somebody who owns the one that he gets.
class BorrowedStack final : public NetworkStack {
 public:
  explicit BorrowedStack(NetworkStack& stack) : stack_(stack) {}
  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    return stack_.connect(center, peer, std::move(done));
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    return stack_.listen(center, local, std::move(on_accept));
  }
  BufferPool& buffers() noexcept override { return stack_.buffers(); }
  BufferPool& front_end_buffers() noexcept override { return stack_.front_end_buffers(); }
  bool supports_one_sided() const noexcept override { return stack_.supports_one_sided(); }

 private:
  NetworkStack& stack_;
};

}  // namespace lunar::msgr
