// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::msgr {

// The counters of one messenger, group "msgr". Written by its loop only.
struct SessionCounters {
  explicit SessionCounters(PerfRegistry& registry) : group(registry, "msgr") {}

  PerfGroup group;
  PerfCounter& messages_out = group.counter("msgs_out", "messages sent, replays too");
  PerfCounter& messages_in = group.counter("msgs_in", "messages delivered");
  PerfCounter& bytes_out = group.counter("bytes_out", "fronts and data of messages sent", "bytes");
  PerfCounter& bytes_in =
      group.counter("bytes_in", "fronts and data of messages delivered", "bytes");
  PerfCounter& payload_copied =
      group.counter("payload_copied", "data of messages that was copied on arrival", "bytes");
  PerfCounter& acks_out = group.counter("acks_out", "acknowledgements sent in frames of their own");
  PerfCounter& acks_in = group.counter("acks_in", "acknowledgements received likewise");
  PerfCounter& replays = group.counter("replays", "messages sent again on a new link");
  PerfCounter& voids_out =
      group.counter("voids_out", "withdrawn messages that a replay stood in for");
  PerfCounter& withdrawn = group.counter("withdraws", "calls of withdraw()");
  PerfCounter& links_up = group.counter("links_up", "links that got through their handshake");
  PerfCounter& links_lost = group.counter("links_lost", "those that ended otherwise than by close");
  PerfCounter& handshakes_failed = group.counter("handshakes_failed", "links that got no session");
  PerfCounter& auth_failed = group.counter("auth_failed", "those for want of the right key");
  PerfCounter& reconnects = group.counter("reconnects", "sessions that went on over another link");
  PerfCounter& races = group.counter("races", "connects that gave way to the peer's");
  PerfCounter& sessions_opened = group.counter("sessions_opened", "sessions begun");
  PerfCounter& resets = group.counter("resets", "sessions lost");
  PerfCounter& throttle_waits =
      group.counter("throttle_waits", "times reading stopped for the dispatch throttle");
  PerfCounter& keepalive_timeouts = group.counter("keepalive_timeouts", "links given up as dead");
  PerfGauge& sessions = group.gauge("sessions", "connections there are");
  PerfTimeAverage& keepalive_rtt = group.time_average("keepalive_rtt", "round trip of a keepalive");
};

}  // namespace lunar::msgr
