// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/tls/tls_engine.h"

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/check.h"
#include "common/random.h"

namespace lunar::msgr::tls {
namespace {

// TLS 1.3 and nothing before it; the ciphers whose hash is that of an external key (RFC
// 8446 4.2.11: SHA-256). ECDHE-PSK without PSK: never without ephemeral keys. Nothing is signed,
// but GnuTLS takes no list without a signature algorithm.
constexpr const char* kPriority =
    "NONE:+VERS-TLS1.3:+AES-128-GCM:+CHACHA20-POLY1305:+AEAD:+SHA256:+GROUP-X25519:"
    "+GROUP-SECP256R1:+ECDHE-PSK:+COMP-NULL:+SIGN-ECDSA-SECP256R1-SHA256";
constexpr std::size_t kMaxHandshakeBytes = 4096;  // of one message

// Parsed once; never freed: tgtd exits while sessions live. Null if GnuTLS, or the policy of the
// host, knows none of these ciphers.
gnutls_priority_t priorities() {
  static const gnutls_priority_t parsed = [] {
    gnutls_priority_t made = nullptr;
    return ::gnutls_priority_init(&made, kPriority, nullptr) == GNUTLS_E_SUCCESS ? made : nullptr;
  }();
  return parsed;
}

gnutls_datum_t datum_of(ConstBytes bytes) noexcept {
  return {reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data())),
          static_cast<unsigned>(bytes.size())};
}

void check(int result, const char* what) { LUNAR_CHECK(result == GNUTLS_E_SUCCESS, what); }

}  // namespace

bool is_available() noexcept { return priorities() != nullptr; }

TlsEngine::TlsEngine(TlsParty party, RecordTransport& transport)
    : transport_(transport), keys_(std::move(party.keys)) {
  // No tickets: each handshake has its own key and its own proofs.
  const unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET |
                         (party.is_connector ? GNUTLS_CLIENT : GNUTLS_SERVER);
  check(::gnutls_init(&session_, flags), "no memory for a TLS session");
  ::gnutls_session_set_ptr(session_, this);
  check(::gnutls_priority_set(session_, priorities()), "GnuTLS took its priorities back");
  ::gnutls_handshake_set_max_packet_length(session_, kMaxHandshakeBytes);
  ::gnutls_handshake_set_timeout(session_, 0);  // the handshake of the link has one
  ::gnutls_transport_set_ptr(session_, this);
  ::gnutls_transport_set_pull_function(session_, pull);
  ::gnutls_transport_set_vec_push_function(session_, push);
  if (party.is_connector) {
    LUNAR_CHECK(keys_.size() == 1, "a connector has one key");
    const gnutls_datum_t identity = datum_of(as_const_bytes(keys_[0].identity));
    const gnutls_datum_t psk = datum_of(keys_[0].psk.bytes());
    check(::gnutls_psk_allocate_client_credentials(&connector_), "no memory for a TLS session");
    check(::gnutls_psk_set_client_credentials2(connector_, &identity, &psk, GNUTLS_PSK_KEY_RAW),
          "no memory for a TLS session");
    check(::gnutls_credentials_set(session_, GNUTLS_CRD_PSK, connector_),
          "no memory for a TLS session");
  } else {
    decoy_ = Secret(Keyring::kKeyBytes);
    random_bytes(decoy_.bytes());
    check(::gnutls_psk_allocate_server_credentials(&acceptor_), "no memory for a TLS session");
    ::gnutls_psk_set_server_credentials_function2(acceptor_, find_key);
    check(::gnutls_credentials_set(session_, GNUTLS_CRD_PSK, acceptor_),
          "no memory for a TLS session");
  }
}

TlsEngine::~TlsEngine() {
  ::gnutls_deinit(session_);
  drop_credentials();
}

void TlsEngine::drop_credentials() noexcept {
  if (connector_ != nullptr) ::gnutls_psk_free_client_credentials(connector_);
  if (acceptor_ != nullptr) ::gnutls_psk_free_server_credentials(acceptor_);
  connector_ = nullptr;
  acceptor_ = nullptr;
  keys_.clear();
  decoy_ = Secret();
}

ChannelBinding TlsEngine::finish_handshake() {
  gnutls_datum_t exported{nullptr, 0};
  check(::gnutls_session_channel_binding(session_, GNUTLS_CB_TLS_EXPORTER, &exported),
        "TLS 1.3 always has an exporter");
  ChannelBinding binding{};
  LUNAR_CHECK(exported.size == binding.size(), "RFC 9266: 32 bytes");
  std::memcpy(binding.data(), exported.data, binding.size());
  ::gnutls_free(exported.data);
  ::gnutls_credentials_clear(session_);
  drop_credentials();
  return binding;
}

// GnuTLS frees the key. The same work for every identity.
int TlsEngine::find_key(gnutls_session_t session, const gnutls_datum_t* identity,
                        gnutls_datum_t* key) {
  const auto& self = *static_cast<TlsEngine*>(::gnutls_session_get_ptr(session));
  const std::string_view wanted(reinterpret_cast<const char*>(identity->data), identity->size);
  const Secret* found = &self.decoy_;
  for (const TlsKey& each : self.keys_) {
    if (each.identity == wanted) found = &each.psk;
  }
  key->data = static_cast<unsigned char*>(::gnutls_malloc(found->size()));
  if (key->data == nullptr) return -1;
  std::memcpy(key->data, found->bytes().data(), found->size());
  key->size = static_cast<unsigned>(found->size());
  return 0;
}

ssize_t TlsEngine::pull(gnutls_transport_ptr_t self, void* into, std::size_t length) {
  auto& session = *static_cast<TlsEngine*>(self);
  int error = 0;
  const ssize_t moved =
      session.transport_.pull_record({static_cast<std::byte*>(into), length}, error);
  if (moved < 0) ::gnutls_transport_set_errno(session.session_, error);
  return moved;
}

ssize_t TlsEngine::push(gnutls_transport_ptr_t self, const giovec_t* iovecs, int count) {
  auto& session = *static_cast<TlsEngine*>(self);
  ssize_t taken = 0;
  for (int i = 0; i < count; ++i) {
    session.transport_.push_record(
        {static_cast<const std::byte*>(iovecs[i].iov_base), iovecs[i].iov_len});
    taken += static_cast<ssize_t>(iovecs[i].iov_len);
  }
  return taken;
}

}  // namespace lunar::msgr::tls
