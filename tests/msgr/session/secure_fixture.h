// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "tests/msgr/session/handshake_fixture.h"
#include "tests/support/counter_in.h"

namespace lunar::msgr {

inline MessengerOptions with_modes(MessengerOptions options, std::string_view modes) {
  const WireModes parsed = *WireModes::parse(modes);
  options.modes = {parsed, parsed, parsed};
  return options;
}

inline uint64_t count(Node& node, const std::string& name) {
  const auto value = test::counter_in(node.perf.dump(), name);
  EXPECT_TRUE(value) << name;
  return value.value_or(0);
}

// Servers and clients that have keys, and take links of the modes that a test names.
class SecureFixture : public HandshakeFixture {
 protected:
  Node& add_server_of(std::string_view modes, std::string entity = "osd.0") {
    return add_server_of(modes, std::move(entity), keyring_);
  }
  Node& add_server_of(std::string_view modes, std::string entity, const Keyring& keyring) {
    Node& node = add_node(with_modes(with_auth(std::move(entity)), modes), &keyring);
    address_ = *node.messenger->bind(Address::loopback(), Policy::kStatefulServer);
    return node;
  }
  Node& add_client_of(std::string_view modes, std::string entity = "client.a") {
    return add_node(with_modes(with_auth(std::move(entity)), modes), &keyring_);
  }
  const Keyring keyring_ = keyring_of({"client.a", "client.admin", "osd.0", "osd.1"});
};

}  // namespace lunar::msgr
