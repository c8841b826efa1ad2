// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/perf_counters.h"

namespace lunar::msgr::local {

// Counters of a stack: the group "local". Thread-safe.
struct LocalCounters {
  // A registry of its own if `registry` is null.
  explicit LocalCounters(PerfRegistry* registry)
      : own(registry == nullptr ? std::make_unique<PerfRegistry>() : nullptr),
        group(registry == nullptr ? *own : *registry, "local") {}

  const std::unique_ptr<PerfRegistry> own;
  PerfGroup group;
  PerfCounter& links_local = group.counter("links_local", "links made over a Unix socket");
  PerfCounter& links_tcp = group.counter("links_tcp", "links made over TCP");
  PerfCounter& regions_out =
      group.counter("regions_out", "descriptors of memory that peers were given");
  PerfCounter& keys_waited =
      group.counter("keys_waited", "keys that were taken back while the peer used them");
  PerfCounter& keys_forced = group.counter(
      "keys_forced", "keys that were taken back by other pages, as the peer did not end its move");
};

}  // namespace lunar::msgr::local
