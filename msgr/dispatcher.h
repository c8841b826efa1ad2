// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "common/bytes.h"
#include "msgr/connection.h"
#include "msgr/message.h"

namespace lunar::msgr {

// Receives what connections bring. Called on the connection's loop, one call at a time per
// connection; must not block. Outlives every messenger it is given to.
struct Dispatcher {
  virtual ~Dispatcher() = default;

  // A new session is up: the first of a connection, or the first after on_reset().
  virtual void on_open(Connection& connection) = 0;

  // The data of a message is about to arrive: where it should go, exactly `data_bytes`, or none
  // for a buffer of the messenger's pool. Borrowed until on_message(), withdraw()'s done, or
  // on_reset(); on_message() may never come (a damaged frame, a lost link), and the same message
  // may then ask again.
  virtual Bytes payload_for(Connection& connection, const MessageMeta& meta, ConstBytes front,
                            std::size_t data_bytes) {
    (void)connection, (void)meta, (void)front, (void)data_bytes;
    return {};
  }

  virtual void on_message(Connection& connection, InMessage message) = 0;

  // The session is gone, and everything unanswered on it: the peer restarted or forgot it, a lossy
  // link broke, authentication failed, it was idle too long, or this side called close() (kClosed).
  // Exactly one for each on_open(), unless Messenger::shutdown() comes first: what is kept about a
  // connection is forgotten here, and nowhere else. A connection that was made by
  // connect() goes on trying to open a new session unless close() is called, or `why` is
  // kAuthFailed or kFeatureMismatch, after which it only tries again slowly (ms_max_backoff).
  virtual void on_reset(Connection& connection, std::error_code why) = 0;

  // The session's link went up or down; the session itself lives on. For display and liveness.
  virtual void on_link(Connection& connection, bool up) { (void)connection, (void)up; }
};

}  // namespace lunar::msgr
