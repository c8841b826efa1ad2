// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gnutls/gnutls.h>

#include <cstddef>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/tls/tls_stream.h"

namespace lunar::msgr::tls {

// Where a TlsEngine gets and puts its records.
struct RecordTransport {
  // As recv(2): 0 at the end; -1 and an errno, EAGAIN if there is nothing now.
  virtual ssize_t pull_record(Bytes into, int& error) = 0;
  // Takes all of it.
  virtual void push_record(ConstBytes from) = 0;

 protected:
  ~RecordTransport() = default;
};

// GnuTLS's side of a TlsStream: its state, and the keys for its handshake. Does no I/O.
// Loop-bound. Owns both; borrows the transport.
class TlsEngine {
 public:
  TlsEngine(TlsParty party, RecordTransport& transport);
  ~TlsEngine();
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;

  // What these return is GnuTLS's: bytes, or a negative number which gnutls_strerror() explains.
  int handshake() { return ::gnutls_handshake(session_); }
  ssize_t send(ConstBytes bytes) {
    return ::gnutls_record_send(session_, bytes.data(), bytes.size());
  }
  ssize_t receive(Bytes into) { return ::gnutls_record_recv(session_, into.data(), into.size()); }
  // The alert that says why, if there is one for it.
  void send_alert(int error) { ::gnutls_alert_send_appropriate(session_, error); }
  // REQUIRES: the handshake has succeeded. The keys for it are wiped.
  ChannelBinding finish_handshake();

  static bool is_blocked(ssize_t result) noexcept {
    return result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED;
  }
  // Of a record that was taken in whole.
  bool has_plain_text() const noexcept { return ::gnutls_record_check_pending(session_) > 0; }

 private:
  static int find_key(gnutls_session_t session, const gnutls_datum_t* identity,
                      gnutls_datum_t* key);
  static ssize_t pull(gnutls_transport_ptr_t self, void* into, std::size_t length);
  static ssize_t push(gnutls_transport_ptr_t self, const giovec_t* iovecs, int count);
  void drop_credentials() noexcept;

  RecordTransport& transport_;
  std::vector<TlsKey> keys_;  // empty once the handshake is over
  Secret decoy_;              // of an acceptor; nobody has it
  gnutls_session_t session_ = nullptr;
  gnutls_psk_client_credentials_t connector_ = nullptr;  // at most one of the two
  gnutls_psk_server_credentials_t acceptor_ = nullptr;
};

}  // namespace lunar::msgr::tls
