// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "common/inline_function.h"
#include "common/keyring.h"
#include "msgr/event_center.h"
#include "msgr/net/byte_stream.h"

namespace lunar::msgr::tls {

// What TLS knows a pre-shared key by, and the key. Move-only.
struct TlsKey {
  std::string identity;
  Secret psk;
};

// One side of a TLS connection, docs/protocol.md §4.2.
struct TlsParty {
  bool is_connector = false;
  // The connector's own; or those that the acceptor takes. For any other identity the acceptor goes
  // on with a key that nobody has.
  std::vector<TlsKey> keys;
};

// Whether GnuTLS lets a link be secure: the policy of a host may forbid what it takes.
bool is_available() noexcept;

// Bytes that the two ends of one TLS connection know, and nobody else: its tls-exporter of RFC
// 9266.
using ChannelBinding = std::array<std::byte, 32>;

// Makes streams of TLS 1.3 with a pre-shared key and ephemeral ECDHE over streams of bytes; by
// GnuTLS, whose records go into and come out of the stream below in large portions. The stream
// fails with kAuthFailed if the handshake does, and with kBadRecord if a record does not verify;
// the peer is told by an alert. An end of the stream below is the end of this one, with or without
// close_notify: whoever wants to know that nothing is missing says so in its frames.
// For one wrap(), whose stream is loop-bound to the center, owns the stream below and borrows the
// center.
class TlsWrap final : public StreamWrap {
 public:
  // `done` runs once, on the loop, when the handshake has succeeded; it may destroy the stream.
  using HandshakeDone = InlineFunction<void(const ChannelBinding&)>;
  TlsWrap(TlsParty party, HandshakeDone done) : party_(std::move(party)), done_(std::move(done)) {}
  std::unique_ptr<ByteStream> wrap(EventCenter& center, std::unique_ptr<ByteStream> below,
                                   std::vector<std::byte> unread) override;

 private:
  TlsParty party_;
  HandshakeDone done_;
};

}  // namespace lunar::msgr::tls
