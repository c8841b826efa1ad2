// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/keyring.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/address.h"
#include "msgr/connection.h"
#include "msgr/dispatcher.h"
#include "msgr/event_center.h"
#include "msgr/net/network_stack.h"
#include "msgr/wire_modes.h"

namespace lunar::msgr {

// What a session does when its link breaks, by Ceph's names. A side that accepts and a side that
// connects have to choose policies that fit together; the handshake tells whether the peer is
// lossy.
enum class Policy : uint8_t {
  kLossyClient,      // connects; a lost link is a reset
  kLosslessClient,   // connects; reconnects and replays
  kLosslessPeer,     // either side connects; races are resolved; replays
  kStatefulServer,   // accepts; keeps the session and waits for the client to come back
  kStatelessServer,  // accepts; a lost link is a reset
};

// Whether this program and its peers prove who they are, by auth_client_required for a client and
// by auth_service_required or auth_cluster_required for a server, as config.name() says which.
bool requires_authentication(const Config& config);

// How a messenger behaves, each field by its ms_* option, whose default it has: a test compares the
// two. A value; durations in nanoseconds.
struct MessengerOptions {
  std::string entity = "client.admin";
  std::string instance;       // see PeerIdentity; empty: made from host id and pid
  uint64_t nonce = 0;         // 0: made from the time
  bool auth_required = true;  // of peers that connect to us, and of servers we connect to
  WireModesByPeer modes;      // ms_cluster_mode, ms_service_mode, ms_client_mode
  uint64_t secure_max_bytes = 64ull << 30;                         // of a secure link, …
  std::chrono::nanoseconds secure_max_age{std::chrono::hours(8)};  // … then a new one
  bool crc_data = true;   // put a crc over payload that is sent
  bool one_sided = true;  // tell peers that delivery descriptors are understood
  bool tcp_nodelay = true;
  std::string tcp_congestion;  // empty: the host's default
  uint32_t tcp_rcvbuf = 0;     // bytes; 0: the host's default
  std::chrono::nanoseconds connection_ready_timeout{std::chrono::seconds(10)};  // of a handshake
  std::chrono::nanoseconds connection_idle_timeout{
      std::chrono::seconds(900)};  // of a server's link
  std::chrono::nanoseconds initial_backoff{std::chrono::milliseconds(200)};
  std::chrono::nanoseconds max_backoff{std::chrono::seconds(15)};
  std::chrono::nanoseconds keepalive_interval{std::chrono::seconds(5)};
  std::chrono::nanoseconds keepalive_timeout{std::chrono::seconds(15)};  // above the interval
  std::chrono::nanoseconds session_timeout{std::chrono::seconds(60)};  // a server's, without a link
  uint64_t dispatch_throttle_bytes = 100u << 20;                       // 0: no limit
  uint64_t max_unread_messages = 16384;                                // of an accepted session
  uint64_t max_sessions = 1024;                                        // accepted, of one entity
  uint64_t max_handshakes = 1024;                                      // of links that peers made
  uint64_t max_handshakes_per_host = 128;                              // … from one address
  FrameLimits limits;                   // of frames that are received, and of our own
  uint64_t inject_socket_failures = 0;  // one in about so many sends or receives; 0 is never
  double inject_delay_probability = 0;  // share of received frames
  std::chrono::nanoseconds inject_delay_max{std::chrono::seconds(1)};
  uint64_t inject_seed = 0;  // 0: a random one

  // Everything from the config: entity from its name, auth_required from
  // requires_authentication(). Instance and nonce are the caller's. The error is a sentence about
  // two options that contradict each other.
  static Outcome<MessengerOptions> from_config(const Config& config);

  bool operator==(const MessengerOptions&) const = default;
};

// Makes and accepts connections. All of them live on one center.
// Loop-bound to that center. Borrows center, stack, keyring, registry and dispatcher, which outlive
// it.
class Messenger {
 public:
  // `keyring` may be null if no authentication is required. `perf` gets the counters of group
  // "msgr"; null: nobody sees them. The error is a sentence: no such entity, no keys, an instance
  // that is too long.
  static Outcome<std::unique_ptr<Messenger>> create(EventCenter& center, NetworkStack& stack,
                                                    MessengerOptions options,
                                                    const Keyring* keyring, PerfRegistry* perf,
                                                    Dispatcher* dispatcher);
  virtual ~Messenger() = default;  // REQUIRES: shutdown() is done

  // Listens, and returns the address with its port; port 0 takes any free one. Refuses a
  // non-loopback address (permission_denied) unless authentication is required. `accepted` is the
  // policy of the sessions that come in: kStatefulServer, kStatelessServer or kLosslessPeer.
  // May be called again for another address.
  virtual Outcome<Address> bind(const Address& address, Policy accepted) = 0;

  // A connection to `peer`, begun now; on_open() tells when its session is up. Each call with the
  // same address returns the same connection until it is closed. During shutdown() the connection
  // is closed from the beginning. REQUIRES: a policy that connects.
  virtual ConnectionRef connect(const Address& peer, Policy policy) = 0;

  // Those that are not closed, whoever connected; in no order.
  virtual std::vector<ConnectionRef> connections() const = 0;
  // The keyring that create() was given has other keys; the loop is the one to change it on.
  // Accepted sessions of an entity that is not in it any more are closed; of one that has another
  // key, the link is, and the session goes on with what it proves next. Handshakes of a key that
  // does not count any more end. What came by a session that is closed was given to the dispatcher
  // before this call, or never is.
  virtual void on_keys_changed() = 0;
  // What create() was given, with instance and nonce filled in.
  virtual const MessengerOptions& options() const noexcept = 0;

  // Closes everything, sending what kClose frames it can; `done` runs later, when no link is left.
  // No dispatcher is called from here on. REQUIRES: not called before.
  virtual void shutdown(UniqueFunction<void()> done) = 0;
};

// The stack that ms_type names, with a buffer pool sized by options. A sentence if it cannot work.
// Counters of the stack itself go to `perf`, which outlives it; null: nobody sees them.
Outcome<std::unique_ptr<NetworkStack>> make_network_stack(const Config& config,
                                                          PerfRegistry* perf = nullptr);

}  // namespace lunar::msgr
