// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "msgr/net/network_stack.h"
#include "msgr/tls/tls_stream.h"

namespace lunar::msgr {

inline tls::TlsParty tls_party(bool is_connector, std::string identity, char key) {
  tls::TlsParty party;
  party.is_connector = is_connector;
  Secret psk(Keyring::kKeyBytes);
  for (std::byte& byte : psk.bytes()) byte = static_cast<std::byte>(key);
  party.keys.push_back({std::move(identity), std::move(psk)});
  return party;
}

// Another stack whose links are inside TLS, with a key of the tests, before anybody sees them.
// Owns the other one. What has not finished its handshake belongs to the connect or listener that
// it came from, and goes with it.
class TlsStack final : public NetworkStack {
 public:
  explicit TlsStack(std::unique_ptr<NetworkStack> below) : below_(std::move(below)) {}

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    auto connect = std::make_unique<TlsConnect>();
    connect->done = std::move(done);
    connect->below = below_->connect(
        center, peer, [&self = *connect, &center](Result<std::unique_ptr<Link>> link) {
          if (!link) return self.done(std::move(link));
          self.handshakes.start(center, std::move(*link), true, [&self](auto secured) {
            ConnectDone then = std::move(self.done);  // it may destroy `self`
            then(std::move(secured));
          });
        });
    return connect;
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    auto listener = std::make_unique<TlsListener>();
    listener->on_accept = std::make_shared<AcceptCallback>(std::move(on_accept));
    auto below = below_->listen(center, local, [&self = *listener, &center](auto link) {
      self.handshakes.start(center, std::move(link), false, [&self](auto secured) {
        const auto then = self.on_accept;  // it may destroy `self`
        (*then)(std::move(secured));
      });
    });
    if (!below) return failure(std::move(below.error()));
    listener->below = std::move(*below);
    return std::unique_ptr<Listener>(std::move(listener));
  }
  BufferPool& buffers() noexcept override { return below_->buffers(); }

 private:
  // Links of one loop that become secure. Destroying it gives them up. Loop-bound.
  class Handshakes {
   public:
    // `then` gets the link, one turn after the handshake: a stream is not closed inside its own
    // callback. It may destroy these Handshakes.
    template <typename Then>
    void start(EventCenter& center, std::unique_ptr<Link> link, bool is_connector, Then then) {
      const uint64_t number = ++last_number_;
      Link& wrapped = *(unfinished_[number] = std::move(link));
      wrapped.wrap_stream(std::make_unique<tls::TlsWrap>(
          tls_party(is_connector, "test", 'k'), [this, &center, number, then](const auto&) {
            center.post([this, number, then, alive = std::weak_ptr<bool>(alive_)] {
              if (!alive.expired()) then(std::move(unfinished_.extract(number).mapped()));
            });
          }));
    }

   private:
    const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::map<uint64_t, std::unique_ptr<Link>> unfinished_;
    uint64_t last_number_ = 0;
  };
  struct TlsConnect final : PendingConnect {
    ConnectDone done;
    std::unique_ptr<PendingConnect> below;
    Handshakes handshakes;
  };
  struct TlsListener final : Listener {
    Address local_address() const override { return below->local_address(); }
    std::shared_ptr<AcceptCallback> on_accept;
    std::unique_ptr<Listener> below;
    Handshakes handshakes;
  };

  const std::unique_ptr<NetworkStack> below_;
};

}  // namespace lunar::msgr
