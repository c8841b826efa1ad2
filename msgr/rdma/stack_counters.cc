// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/stack_counters.h"

#include <string>

#include "common/memlock.h"

namespace lunar::msgr::rdma {
namespace {

constexpr const char* kEventNames[] = {
    "cq_error",         "qp_fatal",          "qp_request_error", "qp_access_error",
    "comm_established", "sq_drained",        "path_migrated",    "path_migration_error",
    "device_fatal",     "port_active",       "port_error",       "lid_change",
    "pkey_change",      "sm_change",         "srq_error",        "srq_limit_reached",
    "last_wqe_reached", "client_reregister", "gid_change",       "wq_fatal"};

}  // namespace

StackCounters::StackCounters(PerfRegistry* registry)
    : own_(registry == nullptr ? std::make_unique<PerfRegistry>() : nullptr),
      group_(registry == nullptr ? *own_ : *registry, "rdma"),
      links_rdma_(group_.counter("links_rdma", "links made over RDMA")),
      links_tcp_(group_.counter("links_tcp", "links that stayed on TCP")),
      fallbacks_(group_.counter("fallbacks", "links that are TCP where RDMA was wanted")),
      last_fallback_(group_.gauge("last_fallback_error",
                                  "error number of the last fallback from RDMA to TCP")),
      cm_refused_(group_.counter("cm_requests_refused",
                                 "requests of rdma_cm without the ticket of a handshake")),
      devices_(group_.gauge("devices_open", "RDMA devices in use")),
      removals_(group_.counter("devices_removed", "RDMA devices that went away while in use")) {
  group_.reading("bytes_pinned", "memory registered, once per device", bytes_pinned, "bytes");
  static_assert(std::size(kEventNames) == kEvents);
  for (std::size_t i = 0; i < kEvents; ++i) {
    events_[i] =
        &group_.counter(std::string("async_") + kEventNames[i], "asynchronous events of that kind");
  }
}

void StackCounters::fell_back(std::error_code why) noexcept {
  fallbacks_.add_shared();
  last_fallback_.set(static_cast<uint64_t>(why.value()));
}

void StackCounters::async_event(ibv_event_type type) noexcept {
  const auto kind = static_cast<std::size_t>(type);
  if (kind < kEvents) events_[kind]->add_shared();
}

void StackCounters::device_closed(bool was_removed) noexcept {
  devices_.dec_shared();
  if (was_removed) removals_.add_shared();
}

}  // namespace lunar::msgr::rdma
