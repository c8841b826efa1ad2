// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "msgr/address.h"
#include "msgr/net/network_stack.h"
#include "msgr/rdma/link/endpoint.h"
#include "msgr/rdma/setup/cm_awaited.h"
#include "msgr/rdma/setup/cm_channel.h"

namespace lunar::msgr::rdma {

class CmSetup;

// What waits on a loop for a link. `deliver` runs there once, through the port, which the one that
// waits closes.
struct CmWaiter {
  CmWaiter(EventCenter& on, ConnectDone done)
      : deliver(std::move(done)), center(&on), port(LoopPort::open(on)) {}

  ConnectDone deliver;
  EventCenter* const center;
  const std::shared_ptr<LoopPort> port;
  std::weak_ptr<CmSetup> accepting;  // once the peer has come; for the service thread
};

// A connection that rdma_cm sets up, on either side; afterwards it owns the id of the link:
//
//   connecting  resolve address -> device, worker, QP -> resolve route -> connect -> response:
//               QP to RTS, establish, hand over
//   accepting   request -> device, worker, QP -> QP to RTS, accept -> established: hand over
//
// An id lives as long as its link, as its end would tell the peer's CM that the connection is over;
// only the removal of its device ends it earlier, because the kernel waits for it then.
// For the service thread, but for the constructor. Shared.
class CmSetup final : public CmIdOwner, public std::enable_shared_from_this<CmSetup> {
 public:
  CmSetup(std::shared_ptr<CmChannel> channel, std::shared_ptr<CmWaiter> waiter,
          const CmTickets& tickets, bool accepts);

  void begin_connect(const Address& peer);
  // `told` is the request's, and has shown our ticket.
  void begin_accept(const CmEvent& request, const EndpointInfo& told);
  // Nobody waits for the link any more. Does nothing if it was handed over.
  void abandon();
  void on_event(const CmEvent& event) override;

 private:
  // The steps, in their order.
  void set_traffic_class(uint8_t tos);
  void find_device();
  void get_worker(std::shared_ptr<Device> device);  // on the loop
  void make_endpoint(Result<std::shared_ptr<Worker>> worker);
  void send_connect();
  void on_response(const CmEvent& event);
  void accept();
  struct Parcel;
  void hand_over();

  rdma_conn_param parameters(const std::vector<std::byte>& private_data) const;
  std::error_code make_ready();
  void give_up(std::error_code why);
  // From the loop to the service thread.
  template <typename F>
  void run(F fn);

  const std::shared_ptr<CmChannel> channel_;
  const std::shared_ptr<CmWaiter> waiter_;
  const CmTickets tickets_;
  const bool accepts_;
  rdma_cm_id* id_ = nullptr;
  Address peer_;
  PortChoice choice_;
  EndpointInfo told_;                // accepting: what the request said of the peer's QP
  uint8_t responder_resources_ = 0;  // and of its limits
  uint8_t initiator_depth_ = 0;
  std::unique_ptr<Endpoint> endpoint_;
  bool is_ended_ = false;
  bool is_handed_over_ = false;
};

}  // namespace lunar::msgr::rdma
