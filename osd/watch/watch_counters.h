// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::osd {

// Group "osd_watch". Written by the server's loop, read by any thread.
struct WatchCounters {
  explicit WatchCounters(PerfRegistry& registry) : group(registry, "osd_watch") {}

  PerfGroup group;
  PerfGauge& watches =
      group.gauge("watches", "watches that clients have on objects of this server");
  PerfGauge& watched_objects = group.gauge("watched_objects", "objects that somebody watches");
  PerfGauge& notifies_active =
      group.gauge("notifies_active", "notifies that wait for the acks of watchers");
  PerfCounter& watch = group.counter("watch", "watches that were made or confirmed");
  PerfCounter& unwatch = group.counter("unwatch", "watches that their clients ended");
  PerfCounter& watch_refused =
      group.counter("watch_refused", "watches that were refused because there were too many");
  PerfCounter& watch_expired = group.counter(
      "watch_expired", "watches that ended because their client was away for too long");
  PerfCounter& watch_lost = group.counter(
      "watch_lost",
      "watches that ended because of a fence, because their object was deleted or has moved, or "
      "because a notify could not be told");
  PerfCounter& watch_came_late = group.counter(
      "watch_came_late", "watches that were not taken up again because they had expired");
  PerfCounter& watch_ping = group.counter("watch_ping", "pings of watchers that were answered");
  PerfCounter& notify = group.counter("notify", "notifies that were begun");
  PerfCounter& notify_refused =
      group.counter("notify_refused", "notifies that were refused because there were too many");
  PerfCounter& notify_out = group.counter("notify_out", "messages that told a watcher of a notify");
  PerfCounter& notify_ack = group.counter("notify_ack", "acks of notifies that arrived");
  PerfCounter& notify_missed =
      group.counter("notify_missed", "watchers that did not ack a notify in time");
};

}  // namespace lunar::osd
