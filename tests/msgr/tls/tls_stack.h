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
// Loop-bound, unlike other stacks. Owns the other one.
class TlsStack final : public NetworkStack {
 public:
  explicit TlsStack(std::unique_ptr<NetworkStack> below) : below_(std::move(below)) {}

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    auto connect = std::make_unique<TlsConnect>();
    TlsConnect& self = *connect;
    self.done = std::move(done);
    self.below =
        below_->connect(center, peer, [this, &self, &center](Result<std::unique_ptr<Link>> link) {
          if (!link) return self.done(std::move(link));
          ConnectDone then = std::move(self.done);
          secure(center, std::move(*link), true,
                 [then = std::make_shared<ConnectDone>(std::move(then)),
                  alive = std::weak_ptr<bool>(self.alive)](std::unique_ptr<Link> secured) {
                   if (!alive.expired()) (*then)(std::move(secured));
                 });
        });
    return connect;
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    auto then = std::make_shared<AcceptCallback>(std::move(on_accept));
    return below_->listen(center, local, [this, &center, then](std::unique_ptr<Link> link) {
      secure(center, std::move(link), false,
             [then](std::unique_ptr<Link> secured) { (*then)(std::move(secured)); });
    });
  }
  BufferPool& buffers() noexcept override { return below_->buffers(); }

 private:
  struct TlsConnect final : PendingConnect {
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
    ConnectDone done;
    std::unique_ptr<PendingConnect> below;
  };

  template <typename Then>
  void secure(EventCenter& center, std::unique_ptr<Link> link, bool is_connector, Then then) {
    const uint64_t number = ++last_number_;
    Link& wrapped = *(unfinished_[number] = std::move(link));
    wrapped.wrap_stream(std::make_unique<tls::TlsWrap>(
        tls_party(is_connector, "test", 'k'), [this, &center, number, then](const auto&) {
          // One turn later: a stream is not closed inside its own callback.
          center.post([this, number, then]() mutable {
            then(std::move(unfinished_.extract(number).mapped()));
          });
        }));
  }

  const std::unique_ptr<NetworkStack> below_;
  std::map<uint64_t, std::unique_ptr<Link>> unfinished_;
  uint64_t last_number_ = 0;
};

}  // namespace lunar::msgr
