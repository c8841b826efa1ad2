// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>

#include "common/inline_function.h"
#include "common/keyring.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "msgr/messenger.h"
#include "tools/perf_msgr/job.h"

namespace lunar::perf_msgr {

// What every connection of a process shares. Immutable once made; all of it outlives its users.
struct Environment {
  msgr::NetworkStack& stack;
  const msgr::MessengerOptions& messenger;
  const Keyring* keyring;  // null if no authentication is required
  PerfRegistry& perf;
};

class Peer;

// What a client's connection tells its load, on the loop.
struct PeerEvents {
  virtual void on_opened(Peer& peer) = 0;
  virtual void on_done(Peer& peer, uint32_t slot) = 0;
  virtual void on_stats(Peer& peer, const ServerStats& stats) = 0;
  // The last call but for close()'s.
  virtual void on_failed(Peer& peer, Error why) = 0;

 protected:
  ~PeerEvents() = default;
};

// One connection of a client, on which `job.depth` ops may be in flight, each in a slot of its own.
// Loop-bound. Destroyed only when close() is done.
class Peer {
 public:
  virtual ~Peer() = default;
  // Connects and has the server prepare the job; on_opened() or on_failed() follow.
  virtual void open() = 0;
  // REQUIRES: opened, slot < depth, and nothing in flight in it. on_done() follows.
  virtual void submit(uint32_t slot) = 0;
  // Asks the server what it spent; on_stats() follows.
  virtual void ask_stats() = 0;
  virtual void close(InlineFunction<void()> closed) = 0;
  // Of the link; nothing where the level has none to show.
  virtual msgr::LinkCounters counters() const { return {}; }

  std::size_t index = 0;  // its place among its owner's; the owner's to set
};

std::unique_ptr<Peer> make_link_peer(msgr::EventCenter& center, const Environment& environment,
                                     const msgr::Address& server, const Job& job,
                                     PeerEvents& events);
std::unique_ptr<Peer> make_messenger_peer(msgr::EventCenter& center, const Environment& environment,
                                          const msgr::Address& server, const Job& job,
                                          PeerEvents& events);

}  // namespace lunar::perf_msgr
