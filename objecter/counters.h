// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::objecter {

// Group "objecter", with Ceph's names where Ceph counts the same. Written by the objecter's loop,
// read by any thread.
struct ObjecterCounters {
  explicit ObjecterCounters(PerfRegistry& registry) : group(registry, "objecter") {}

  PerfGroup group;
  PerfGauge& op_active = group.gauge("op_active", "ops that have not ended");
  PerfGauge& op_inflight =
      group.gauge("op_inflight", "ops that hold part of objecter_inflight_ops");
  PerfGauge& op_inflight_bytes =
      group.gauge("op_inflight_bytes", "bytes of objecter_inflight_op_bytes in use", "bytes");
  PerfCounter& op = group.counter("op", "ops submitted");
  PerfCounter& op_r = group.counter("op_r", "ops that only read");
  PerfCounter& op_w = group.counter("op_w", "ops that only change");
  PerfCounter& op_rmw = group.counter("op_rmw", "ops that read or compare, and change");
  PerfCounter& op_flush = group.counter("op_flush", "FLUSH ops, one per server");
  PerfCounter& op_throttled = group.counter("op_throttled", "ops that waited for others in flight");
  PerfCounter& op_send = group.counter("op_send", "ops sent, resends too");
  PerfCounter& op_send_bytes = group.counter("op_send_bytes", "bytes of data sent", "bytes");
  PerfCounter& op_resend = group.counter("op_resend", "ops sent again");
  PerfCounter& op_reply = group.counter("op_reply", "replies that ended or moved an op");
  PerfCounter& op_reply_bytes = group.counter("op_reply_bytes", "bytes of data received", "bytes");
  PerfCounter& op_error = group.counter("op_error", "ops that ended with an error");
  PerfCounter& op_timeout = group.counter("op_timeout", "ops that ran out of time");
  PerfCounter& op_cancel = group.counter("op_cancel", "ops that were cancelled");
  PerfCounter& op_unknown =
      group.counter("op_unknown_outcome", "ops that may or may not have been applied");
  PerfTimeAverage& op_latency = group.time_average("op_latency", "from submit to done");
  PerfHistogram& op_latency_histogram =
      group.histogram("op_latency_histogram", "from submit to done");
  PerfCounter& reply_ignored =
      group.counter("reply_ignored", "replies that fit no op in flight, or break a rule");
  PerfCounter& lost_writes =
      group.counter("lost_writes", "flushes that failed because acknowledged writes may be lost");
  // Payloads by how they were sent; one that is sent again counts again.
  PerfCounter& one_sided = group.counter("one_sided", "payloads described to the server");
  PerfCounter& one_sided_bytes =
      group.counter("one_sided_bytes", "payload that servers moved by RDMA READ or WRITE", "bytes");
  PerfCounter& inline_below_threshold =
      group.counter("inline_below_threshold", "sent in the frame: small");
  PerfCounter& inline_op_kind = group.counter(
      "inline_op_kind", "… the op is neither READ nor plain WRITE of an image's data");
  PerfCounter& inline_not_registered =
      group.counter("inline_not_registered", "… not one registered piece");
  PerfCounter& inline_foreign_memory =
      group.counter("inline_foreign_memory", "… registered, but not with this link's device");
  PerfCounter& inline_link_lacks =
      group.counter("inline_link_lacks", "… the link moves nothing one-sided");
  PerfCounter& inline_peer_lacks =
      group.counter("inline_peer_lacks", "… the server does not know descriptors");
  PerfCounter& inline_no_key = group.counter("inline_no_key", "… no key was to be had");
  PerfCounter& inline_resend = group.counter("inline_resend", "… it had been sent before");
  PerfCounter& inline_retry = group.counter("inline_retry", "… the server asked for it");
  PerfCounter& inline_damaged =
      group.counter("inline_damaged", "… what was pushed before was damaged on its way");
  PerfGauge& keys_out = group.gauge("keys_out", "keys that servers have");
  PerfCounter& keys_revoked =
      group.counter("keys_revoked", "keys taken back without a reply on their own link");
  PerfCounter& payload_copied =
      group.counter("payload_copied", "payload copied here into the caller's memory", "bytes");
  PerfGauge& command_active = group.gauge("command_active", "commands without an answer");
  PerfCounter& command_send = group.counter("command_send", "commands sent");
  PerfGauge& map_epoch = group.gauge("map_epoch", "epoch of the map");
  PerfCounter& map_full = group.counter("map_full", "maps received");
  PerfGauge& osd_sessions = group.gauge("osd_sessions", "OSDs with a session");
  PerfCounter& session_open = group.counter("osd_session_open", "sessions that opened");
  PerfCounter& session_reset = group.counter("osd_session_reset", "sessions that were lost");
};

}  // namespace lunar::objecter
