// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>

#include "common/result.h"
#include "msgr/address.h"
#include "msgr/event_center.h"
#include "msgr/net/link.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/link/endpoint_info.h"
#include "msgr/rdma/memory/arena.h"
#include "msgr/rdma/rdma_options.h"
#include "msgr/rdma/service_thread.h"

namespace lunar {
class PerfRegistry;
}

namespace lunar::msgr::rdma {

// What all workers and endpoints of one stack share. Outlives them.
struct StackResources {
  const RdmaOptions& options;
  ServiceThread& service;
  Arena& staging;                // buffers()
  Arena& front_end;              // front_end_buffers()
  PerfRegistry* perf = nullptr;  // null: the worker table has one of its own
};

// What one loop uses of one device: a CQ with its completion channel, an SRQ, receive and bounce
// buffers. worker.h.
class Worker;

// A QP on its way to becoming a link.
// Made on the service thread; handed over to the loop by into_link(). Owned by whoever sets up the
// connection; destroying it (service thread) destroys the QP, which never carried a frame.
class Endpoint {
 public:
  // A QP in INIT on the worker's CQ, its receives posted. Blocks.
  static Result<std::unique_ptr<Endpoint>> create(std::shared_ptr<Worker> worker,
                                                  const PortChoice& choice);
  virtual ~Endpoint() = default;

  virtual const EndpointInfo& local() const noexcept = 0;
  // INIT -> RTR -> RTS, from metadata. Blocks.
  virtual std::error_code connect(const EndpointInfo& peer) = 0;
  // The same for rdma_cm, which fills the attributes of each state (rdma_init_qp_attr(3)). `peer`
  // has what the private data said. Blocks.
  virtual std::error_code apply(ibv_qp_attr attributes, int mask) = 0;
  virtual void set_peer(const EndpointInfo& peer) = 0;

  // On the worker's loop. REQUIRES: in RTS.
  static std::unique_ptr<Link> into_link(std::unique_ptr<Endpoint> endpoint, Address local,
                                         Address peer);
};

}  // namespace lunar::msgr::rdma
