// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::msgr {

// The counters of one messenger, group "msgr". Written by its loop only.
struct SessionCounters {
  explicit SessionCounters(PerfRegistry& registry) : group(registry, "msgr") {}

  PerfGroup group;
  PerfCounter& messages_out =
      group.counter("msgs_out", "messages that were sent, replays included");
  PerfCounter& messages_in =
      group.counter("msgs_in", "messages that were delivered to the dispatcher");
  PerfCounter& bytes_out =
      group.counter("bytes_out", "bytes of front and data that were sent in messages", "bytes");
  PerfCounter& bytes_in =
      group.counter("bytes_in", "bytes of front and data that were delivered in messages", "bytes");
  PerfCounter& payload_copied = group.counter(
      "payload_copied", "bytes of data that were copied when a message arrived", "bytes");
  PerfCounter& acks_out =
      group.counter("acks_out", "acknowledgements that were sent in a frame of their own");
  PerfCounter& acks_in =
      group.counter("acks_in", "acknowledgements that were received in a frame of their own");
  PerfCounter& replays =
      group.counter("replays", "messages that were sent again on a new link of their session");
  PerfCounter& voids_out =
      group.counter("voids_out", "empty frames that were sent in place of a withdrawn message");
  PerfCounter& messages_too_long =
      group.counter("msgs_too_long", "messages that were not sent because no frame takes them");
  PerfCounter& links_up = group.counter("links_up", "links whose handshake succeeded");
  PerfCounter& links_lost =
      group.counter("links_lost", "links that failed after their handshake had succeeded");
  PerfCounter& links_secure = group.counter("links_secure", "links that went on inside TLS");
  PerfCounter& links_renewed =
      group.counter("links_renewed", "secure links that were replaced by one with new keys");
  PerfCounter& handshakes_failed =
      group.counter("handshakes_failed", "links whose handshake failed");
  PerfCounter& auth_failed =
      group.counter("auth_failed", "handshakes that failed because a key was missing or wrong");
  PerfCounter& reconnects = group.counter("reconnects", "links that continued a session");
  PerfCounter& races =
      group.counter("races", "attempts to connect that gave way to the peer's own");
  PerfCounter& sessions_opened = group.counter("sessions_opened", "sessions that were opened");
  PerfCounter& resets =
      group.counter("resets", "sessions that were lost, with everything unanswered on them");
  PerfCounter& throttle_waits =
      group.counter("throttle_waits",
                    "times that a link stopped reading because its share of memory was used up");
  PerfCounter& send_timeouts = group.counter(
      "send_timeouts", "links that were dropped because the peer did not read what it was sent");
  PerfCounter& sessions_refused =
      group.counter("sessions_refused",
                    "sessions that were refused or closed because of a limit of their entity");
  PerfCounter& sessions_revoked = group.counter(
      "sessions_revoked", "sessions that were closed because their key was taken back");
  PerfCounter& handshakes_replaced = group.counter(
      "handshakes_replaced", "handshakes that were ended because too many were under way");
  PerfCounter& keepalive_timeouts = group.counter(
      "keepalive_timeouts", "links that were dropped because the peer gave no sign of life");
  PerfGauge& sessions = group.gauge("sessions", "connections that exist now");
  PerfTimeAverage& keepalive_rtt =
      group.time_average("keepalive_rtt", "time that a keepalive takes to the peer and back");
};

}  // namespace lunar::msgr
