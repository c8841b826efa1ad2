// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "msgr/net/network_stack.h"
#include "msgr/net/stream_link.h"

namespace lunar::msgr {

// Decides about each step of the links of a LoopbackStack; by default all succeed. Called on the
// loop of the link in question, so by several threads if the links have several centers.
struct LoopbackInjector {
  struct Verdict {
    std::error_code fail;  // the step fails; on a send or receive, both sides lose the link
    EventCenter::Clock::duration delay{};  // the step takes place so much later
    std::size_t limit = SIZE_MAX;  // of a send or receive: bytes moved before `fail`, or at most
  };
  virtual ~LoopbackInjector() = default;
  virtual Verdict on_connect(const Address& peer) { return (void)peer, Verdict(); }
  virtual Verdict on_accept(const Address& listening) { return (void)listening, Verdict(); }
  virtual Verdict on_send(const Address& peer, std::size_t bytes) {
    return (void)peer, (void)bytes, Verdict();
  }
  virtual Verdict on_receive(const Address& peer, std::size_t bytes) {
    return (void)peer, (void)bytes, Verdict();
  }
  // Link::expose(): an error refuses it, as when no window is free.
  virtual std::error_code on_expose(std::size_t bytes) { return (void)bytes, std::error_code(); }
  // Link::revoke() with a `done`: an error means that only the end of the link takes the key back.
  virtual std::error_code on_revoke() { return {}; }
  // A remote_read() that is about to begin: how long it takes. Frames and writes do not wait for
  // it.
  virtual EventCenter::Clock::duration on_remote_read(std::size_t bytes) {
    return (void)bytes, EventCenter::Clock::duration();
  }
  // `moved` has just been filled by remote_read(), or in the peer by remote_write(), and may be
  // changed: bytes damaged on their way. An error breaks the link, with the bytes moved.
  virtual std::error_code on_moved(bool is_write, Bytes moved) {
    return (void)is_write, (void)moved, std::error_code();
  }
};

struct LoopbackOptions {
  StreamLinkOptions link;
  std::size_t pipe_bytes = 256u << 10;  // in flight each way, as a socket's buffers
  bool one_sided = false;               // remote_read() and remote_write() by memcpy
  std::size_t windows = SIZE_MAX;       // keys that expose() may have out at once
  uint32_t max_fragment_bytes = 1u << 20;
  std::size_t buffer_budget_bytes = 256u << 20;
  std::size_t buffer_cached_bytes = 32u << 20;
  LoopbackInjector* injector = nullptr;  // borrowed; outlives the stack
};

// A network within the process, for tests: what one of its links sends another one receives,
// through the same frames, back-pressure and decoder as over TCP, on the same or another center.
// Thread-safe. Owns its buffer pool.
class LoopbackStack final : public NetworkStack {
 public:
  explicit LoopbackStack(LoopbackOptions options = {});
  // Another host on the network of `neighbour`: with options, buffers and an end of its own.
  LoopbackStack(LoopbackOptions options, const LoopbackStack& neighbour);
  ~LoopbackStack() override;

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override;
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override;
  BufferPool& buffers() noexcept override;
  bool supports_one_sided() const noexcept override;
  std::size_t keys_out() const;  // of all links of the network

  // As if the host's process had been killed: its listeners and its ends of all pipes are gone, as
  // their peers see. Nothing of its links may run any more: their center has stopped for good. With
  // no LoopbackStack of the network in a call.
  void kill();

  // The stand-in for a NIC's table of keys. expose() lets remote_read() and remote_write() of any
  // link reach `memory` until revoke(), after which they fail and break their link, as a QP would.
  RemoteKey expose(Bytes memory, uint64_t link_generation);
  void revoke(const RemoteKey& key);

  struct Network;
  struct Host;

 private:
  const std::shared_ptr<Host> host_;
};

}  // namespace lunar::msgr
