// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstddef>
#include <memory>
#include <system_error>

#include "common/perf_counters.h"

namespace lunar::msgr::rdma {

// Counters of a stack: the group "rdma". Thread-safe.
class StackCounters {
 public:
  // A registry of its own if `registry` is null.
  explicit StackCounters(PerfRegistry* registry);

  void link_made(bool is_rdma) noexcept { (is_rdma ? links_rdma_ : links_tcp_).add_shared(); }
  void fell_back(std::error_code why) noexcept;
  void cm_refused() noexcept { cm_refused_.add_shared(); }
  void async_event(ibv_event_type type) noexcept;
  void device_opened() noexcept { devices_.inc_shared(); }
  void device_closed(bool was_removed) noexcept;

 private:
  const std::unique_ptr<PerfRegistry> own_;
  PerfGroup group_;
  PerfCounter& links_rdma_;
  PerfCounter& links_tcp_;
  PerfCounter& fallbacks_;
  PerfGauge& last_fallback_;
  PerfCounter& cm_refused_;
  PerfGauge& devices_;
  PerfCounter& removals_;
  static constexpr std::size_t kEvents = IBV_EVENT_WQ_FATAL + 1;
  std::array<PerfCounter*, kEvents> events_{};
};

}  // namespace lunar::msgr::rdma
