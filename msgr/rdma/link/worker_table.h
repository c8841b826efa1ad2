// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "msgr/rdma/link/endpoint.h"

namespace lunar::msgr::rdma {

// The workers of a stack: one per loop and device, made when first needed, gone with their last
// user (link, endpoint or listener).
// Thread-safe. Outlives its workers.
class WorkerTable {
 public:
  explicit WorkerTable(StackResources stack);
  ~WorkerTable();

  // Called on the center's loop; `done` is posted through `port`, which the caller has on it: once
  // that is closed, `done` is destroyed instead, on whichever thread.
  using Done = UniqueFunction<void(Result<std::shared_ptr<Worker>>)>;
  void get(EventCenter& center, std::shared_ptr<LoopPort> port, std::shared_ptr<Device> device,
           Done done);

  // The device is gone: every link on it ends with ENODEV, soon.
  void on_device_gone(const Device& device);
  // Routes what ibv_get_async_event(3) brought about a QP, CQ or SRQ to its worker, which counts
  // it. Called on the service thread, before the event is acknowledged.
  void on_async_event(const Device& device, const ibv_async_event& event);

 private:
  struct Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace lunar::msgr::rdma
