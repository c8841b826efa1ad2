// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "msgr/rdma/link/worker_table.h"
#include "msgr/rdma/memory/arena.h"
#include "msgr/rdma/rdma_options.h"
#include "msgr/rdma/service_thread.h"
#include "msgr/rdma/setup/device_table.h"
#include "msgr/rdma/stack_counters.h"

namespace lunar::msgr::rdma {

// What an RdmaStack is made of, and its connection set-up borrows. Members are destroyed from the
// last to the first.
struct StackCore {
  StackCore(RdmaOptions with, PerfRegistry* perf) : options(std::move(with)), counters(perf) {}
  const RdmaOptions options;
  ServiceThread service;  // gone after the others: they leave it work to do
  StackCounters counters;
  std::unique_ptr<Arena> staging;
  std::unique_ptr<Arena> front_end;
  std::unique_ptr<WorkerTable> workers;
  std::unique_ptr<DeviceTable> devices;
};

}  // namespace lunar::msgr::rdma
