// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/daemon/service_manager.h"

#include <fmt/core.h>
#include <systemd/sd-daemon.h>

#include <chrono>

#include "common/host.h"

namespace lunar::osd {
namespace {

// sd_notify(3): RELOADING=1 goes with the time at which it was said.
int64_t monotonic_usec() {
  const auto now = monotonic_now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

// Whoever is not there to hear it has not asked.
void notify(const std::string& state) { ::sd_notify(0, state.c_str()); }

}  // namespace

ServiceManager::~ServiceManager() { center_.cancel(timer_); }

void ServiceManager::starting(const std::string& doing) { notify("STATUS=" + doing); }

void ServiceManager::ready(const std::string& doing) {
  is_ready_ = true;
  notify("READY=1\nSTATUS=" + doing);
  uint64_t usec = 0;
  if (::sd_watchdog_enabled(0, &usec) <= 0) return;
  watchdog_period_ = std::chrono::microseconds(usec) / 2;
  feed_watchdog();
}

void ServiceManager::reloading() {
  if (is_ready_) notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", monotonic_usec()));
}

void ServiceManager::reloaded() {
  if (is_ready_) notify("READY=1");
}

void ServiceManager::stopping() {
  is_ready_ = false;
  notify("STOPPING=1\nSTATUS=ending: what is unflushed goes to the store");
}

void ServiceManager::feed_watchdog() {
  notify("WATCHDOG=1");
  timer_ = center_.run_after(watchdog_period_, [this] { feed_watchdog(); });
}

}  // namespace lunar::osd
