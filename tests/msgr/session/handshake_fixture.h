// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <initializer_list>
#include <memory>
#include <string>

#include "tests/msgr/session/raw_peer.h"

namespace lunar::msgr {

inline Keyring keyring_of(std::initializer_list<const char*> names) {
  Keyring keyring;
  for (const char* name : names) keyring.generate(*EntityName::parse(name));
  return keyring;
}

// A server and clients of it, and a peer that sends the frames that a test chooses.
class HandshakeFixture : public SessionFixture {
 protected:
  static MessengerOptions with_auth(std::string entity) {
    MessengerOptions options = quick_options(std::move(entity));
    options.auth_required = true;
    return options;
  }
  Node& add_auth_server(const Keyring& keyring) {
    Node& node = add_node(with_auth("osd.0"), &keyring);
    address_ = *node.messenger->bind(Address::loopback(), Policy::kStatefulServer);
    return node;
  }
  // Why the client's first attempt ended; success if it opened.
  std::error_code outcome(Node& client) {
    client.messenger->connect(address_, Policy::kLosslessClient);
    EXPECT_TRUE(until([&] { return client.events.opens > 0 || !client.events.resets.empty(); }));
    return client.events.resets.empty() ? std::error_code() : client.events.resets[0];
  }
  void connect_raw() {
    raw_.connect(stack_, *center_, address_);
    ASSERT_TRUE(until([&] { return raw_.is_connected(); }));
  }
  bool raw_gets(FrameTag tag) {
    return until([&] { return raw_.has(tag) || raw_.is_closed(); }) && raw_.has(tag);
  }
  bool raw_is_closed() {
    return until([&] { return raw_.is_closed(); });
  }
  void TearDown() override { raw_.close(); }

  RawPeer raw_;
};

}  // namespace lunar::msgr
