// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::objecter {

// Group "objecter", with Ceph's names where Ceph counts the same. Written by the objecter's loop,
// read by any thread.
struct ObjecterCounters {
  explicit ObjecterCounters(PerfRegistry& registry) : group(registry, "objecter") {}

  PerfGroup group;
  PerfGauge& op_active = group.gauge("op_active", "ops that were submitted and are not done");
  PerfGauge& op_inflight =
      group.gauge("op_inflight", "ops that count towards objecter_inflight_ops");
  PerfGauge& op_inflight_bytes = group.gauge(
      "op_inflight_bytes", "bytes of data that count towards objecter_inflight_op_bytes", "bytes");
  PerfCounter& op = group.counter("op", "ops that were submitted");
  PerfCounter& op_r = group.counter("op_r", "ops that only read their object");
  PerfCounter& op_w = group.counter("op_w", "ops that only change their object");
  PerfCounter& op_rmw =
      group.counter("op_rmw", "ops that read or compare, and change, their object");
  PerfCounter& op_flush = group.counter("op_flush", "FLUSH ops, one for each server of a pool");
  PerfCounter& op_throttled =
      group.counter("op_throttled", "ops that waited because too much was in flight");
  PerfCounter& op_send = group.counter("op_send", "ops that were sent, resends counted too");
  PerfCounter& op_send_bytes = group.counter(
      "op_send_bytes", "bytes of data that ops carried, resends counted too", "bytes");
  PerfCounter& op_resend = group.counter("op_resend", "ops that were sent again");
  PerfCounter& op_reply =
      group.counter("op_reply", "replies that ended an op or made it go elsewhere");
  PerfCounter& op_reply_bytes =
      group.counter("op_reply_bytes", "bytes of data that replies carried", "bytes");
  PerfCounter& op_error = group.counter("op_error", "ops that ended with an error");
  PerfCounter& op_timeout = group.counter("op_timeout", "ops that ran out of time");
  PerfCounter& op_cancel = group.counter("op_cancel", "ops that were cancelled");
  PerfCounter& op_unknown =
      group.counter("op_unknown_outcome", "ops that may or may not have been applied");
  PerfTimeAverage& op_latency = group.time_average("op_latency", "time of ops from submit to done");
  PerfHistogram& op_latency_histogram =
      group.histogram("op_latency_histogram", "time of ops from submit to done");
  PerfCounter& reply_ignored = group.counter(
      "reply_ignored", "replies that fit no op in flight, or break a rule, and were ignored");
  PerfCounter& lost_writes =
      group.counter("lost_writes", "flushes that failed because acknowledged writes may be lost");
  // Payloads by how they were sent; one that is sent again counts again.
  PerfCounter& one_sided =
      group.counter("one_sided", "payloads that went one-sided: the server got a descriptor");
  PerfCounter& one_sided_bytes = group.counter(
      "one_sided_bytes", "bytes of payload that servers moved by RDMA READ or WRITE", "bytes");
  PerfCounter& inline_below_threshold =
      group.counter("inline_below_threshold", "payloads sent inline because they are small");
  PerfCounter& inline_op_kind = group.counter(
      "inline_op_kind",
      "payloads sent inline because the op is neither READ nor plain WRITE of an image's data");
  PerfCounter& inline_not_registered =
      group.counter("inline_not_registered",
                    "payloads sent inline because they are not one slice of registered memory");
  PerfCounter& inline_foreign_memory = group.counter(
      "inline_foreign_memory",
      "payloads sent inline because another device than the link's has registered them");
  PerfCounter& inline_link_lacks = group.counter(
      "inline_link_lacks", "payloads sent inline because the link moves nothing one-sided");
  PerfCounter& inline_peer_lacks = group.counter(
      "inline_peer_lacks", "payloads sent inline because the server does no one-sided delivery");
  PerfCounter& inline_no_key =
      group.counter("inline_no_key", "payloads sent inline because no key was free");
  PerfCounter& inline_resend =
      group.counter("inline_resend", "payloads sent inline because the op had been sent before");
  PerfCounter& inline_retry =
      group.counter("inline_retry", "payloads sent inline because the server asked for it");
  PerfCounter& inline_damaged = group.counter(
      "inline_damaged", "payloads sent inline because a push of them was damaged on its way");
  PerfGauge& keys_out = group.gauge("keys_out", "keys to payloads that servers have");
  PerfCounter& keys_revoked =
      group.counter("keys_revoked", "keys that were revoked before a reply came on their own link");
  PerfCounter& payload_copied = group.counter(
      "payload_copied", "bytes of payload that were copied into the memory of the caller", "bytes");
  PerfGauge& linger_active = group.gauge("linger_active", "watches that this client has now");
  PerfCounter& linger_send =
      group.counter("linger_send", "WATCH ops that were sent for new watches");
  PerfCounter& linger_resend =
      group.counter("linger_resend", "WATCH ops that took a watch up again");
  PerfCounter& linger_ping =
      group.counter("linger_ping", "pings of servers that have watches of this client");
  PerfCounter& watch_lost = group.counter("watch_lost", "watches that were lost");
  PerfCounter& watch_notify =
      group.counter("watch_notify", "notifies that came to watches of this client");
  PerfGauge& command_active = group.gauge("command_active", "commands that wait for their answer");
  PerfCounter& command_send = group.counter("command_send", "commands that were sent");
  PerfGauge& map_epoch = group.gauge("map_epoch", "epoch of the newest cluster map that is known");
  PerfCounter& map_full = group.counter("map_full", "cluster maps that were received");
  PerfGauge& osd_sessions = group.gauge("osd_sessions", "OSDs that ops were sent to");
  PerfCounter& session_open =
      group.counter("osd_session_open", "sessions with servers that were opened");
  PerfCounter& session_reset =
      group.counter("osd_session_reset", "sessions with servers that were lost");
};

}  // namespace lunar::objecter
