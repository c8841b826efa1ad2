// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/address.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/memory/arena.h"
#include "msgr/rdma/rdma_options.h"
#include "msgr/rdma/service_thread.h"
#include "msgr/rdma/stack_counters.h"

namespace lunar::msgr::rdma {

// The devices of a stack: opened when a connection first leaves by them, their asynchronous events
// read, closed when they are gone from the host and nobody uses them any more. For jobs of the
// service thread only, except for the constructor. What it hands out may be let go of on any
// thread. Borrows everything it is given.
class DeviceTable {
 public:
  // What it works with. All of it outlives the table.
  struct Borrowed {
    const RdmaOptions& options;
    ServiceThread& service;
    std::vector<Arena*> arenas;  // each device is attached to all of them
    StackCounters& counters;
    // About a QP, CQ or SRQ; before the event is acknowledged.
    UniqueFunction<void(const Device&, const ibv_async_event&)> on_event;
    UniqueFunction<void(const Device&)> on_gone;  // what uses it must end
  };
  explicit DeviceTable(Borrowed borrowed);
  ~DeviceTable();  // on any thread, when no job of ours can run

  // The way out for traffic of a local address, and the device. Blocks.
  Outcome<std::pair<PortChoice, std::shared_ptr<Device>>> find(const Address& local);
  // The same by a device's name and port, for rdma_cm, which has made the choice. Blocks.
  Outcome<std::shared_ptr<Device>> find_device(const std::string& name);
  // Stops watching. REQUIRES: nothing it handed out is left. Blocks.
  void close();

 private:
  struct Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace lunar::msgr::rdma
