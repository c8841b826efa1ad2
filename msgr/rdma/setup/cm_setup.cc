// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm_setup.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "msgr/errors.h"
#include "msgr/rdma/setup/forwarding_link.h"

namespace lunar::msgr::rdma {
namespace {

constexpr int kResolveTimeoutMs = 2000;
constexpr uint8_t kRetries = 6;  // rxe takes 7 as "without limit", as it is for RNR retries

}  // namespace

CmSetup::CmSetup(std::shared_ptr<CmChannel> channel, std::shared_ptr<CmWaiter> waiter,
                 const CmTickets& tickets, bool accepts)
    : channel_(std::move(channel)),
      waiter_(std::move(waiter)),
      tickets_(tickets),
      accepts_(accepts) {}

// Beginning

void CmSetup::begin_connect(const Address& peer) {
  peer_ = peer;
  auto id = channel_->make_id(shared_from_this());
  if (!id) return give_up(id.error());
  id_ = *id;
  const uint8_t tos = channel_->core.options.traffic_class;
  if (tos != 0) set_traffic_class(tos);
  sockaddr_storage storage{};
  peer.to_sockaddr(storage);
  if (rdma_resolve_addr(id_, nullptr, reinterpret_cast<sockaddr*>(&storage), kResolveTimeoutMs) !=
      0) {
    give_up(last_system_error());
  }
}

void CmSetup::set_traffic_class(uint8_t tos) {
  if (rdma_set_option(id_, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof tos) != 0) {
    LUNAR_LOG(kMs, 1, "rdma_cm: no traffic class: {}", last_system_error().message());
  }
}

void CmSetup::begin_accept(const CmEvent& request, const EndpointInfo& told) {
  id_ = request.id;
  channel_->adopt(id_, shared_from_this());
  peer_ = Address::from_sockaddr(rdma_get_peer_addr(id_));
  responder_resources_ = request.responder_resources;
  initiator_depth_ = request.initiator_depth;
  told_ = told;
  find_device();
}

void CmSetup::on_event(const CmEvent& event) {
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      return find_device();
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      return send_connect();
    case RDMA_CM_EVENT_CONNECT_RESPONSE:
      return on_response(event);
    case RDMA_CM_EVENT_ESTABLISHED:
      if (accepts_) hand_over();
      return;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      if (!is_handed_over_) return give_up(event.error());
      channel_->forget(id_, this);  // the link hears of it by the removal of the device
      release_removed_cm_devices();
      return;
    case RDMA_CM_EVENT_DISCONNECTED:
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
      // The link has better signs of its peer's end: what is in flight may still arrive.
      if (!is_handed_over_) give_up(make_error_code(MsgrErrc::kClosedByPeer));
      return;
    default:
      if (!is_handed_over_) give_up(event.error());
      return;
  }
}

// Device, worker, QP

void CmSetup::find_device() {
  if (id_->verbs == nullptr) return give_up(std::make_error_code(std::errc::no_such_device));
  const RdmaOptions& options = channel_->core.options;
  choice_.device = ibv_get_device_name(id_->verbs->device);
  choice_.port = id_->port_num;
  if ((!options.device_name.empty() && options.device_name != choice_.device) ||
      (options.port_num != 0 && options.port_num != choice_.port) ||
      id_->verbs->device->transport_type == IBV_TRANSPORT_IWARP) {
    return give_up(std::make_error_code(std::errc::no_such_device));
  }
  std::memcpy(choice_.gid.data(), id_->route.addr.addr.ibaddr.sgid.raw, choice_.gid.size());
  auto device = channel_->core.devices->find_device(choice_.device);
  if (!device) {
    LUNAR_LOG(kMs, 1, "rdma_cm: {}", device.error().message);
    return give_up(device.error().code);
  }
  const bool was_posted =
      waiter_->port->post([self = shared_from_this(), device = std::move(*device)]() mutable {
        self->get_worker(std::move(device));
      });
  if (!was_posted) abandon();
}

template <typename F>
void CmSetup::run(F fn) {
  channel_->core.service.run(
      [self = shared_from_this(), fn = std::move(fn)]() mutable { fn(*self); });
}

void CmSetup::get_worker(std::shared_ptr<Device> device) {
  channel_->core.workers->get(*waiter_->center, waiter_->port, std::move(device),
                              [self = shared_from_this()](Result<std::shared_ptr<Worker>> worker) {
                                self->run([worker = std::move(worker)](CmSetup& setup) mutable {
                                  setup.make_endpoint(std::move(worker));
                                });
                              });
}

void CmSetup::make_endpoint(Result<std::shared_ptr<Worker>> worker) {
  if (is_ended_) return;
  if (!worker) return give_up(worker.error());
  auto endpoint = Endpoint::create(std::move(*worker), choice_);
  if (!endpoint) return give_up(endpoint.error());
  endpoint_ = std::move(*endpoint);
  if (accepts_) return accept();
  if (rdma_resolve_route(id_, kResolveTimeoutMs) != 0) give_up(last_system_error());
}

// Agreeing with the peer

rdma_conn_param CmSetup::parameters(const std::vector<std::byte>& private_data) const {
  rdma_conn_param param{};
  param.private_data = private_data.data();
  param.private_data_len = static_cast<uint8_t>(private_data.size());
  param.responder_resources = endpoint_->local().read_depth;
  param.initiator_depth = endpoint_->local().read_initiate;
  param.retry_count = kRetries;
  param.rnr_retry_count = kRetries;
  param.qp_num = endpoint_->local().qp_num;
  return param;
}

void CmSetup::send_connect() {
  if (endpoint_ == nullptr) return;
  const std::vector<std::byte> told = encode_private_data({endpoint_->local(), tickets_.peer});
  rdma_conn_param param = parameters(told);
  if (rdma_connect(id_, &param) != 0) give_up(last_system_error());
}

void CmSetup::on_response(const CmEvent& event) {
  const Result<CmPrivateData> told = decode_private_data(event.private_data);
  if (!told || endpoint_ == nullptr) {
    return give_up(told ? make_error_code(MsgrErrc::kClosed) : told.error());
  }
  // Somebody else's who listens there.
  if (told->ticket != tickets_.own) return give_up(make_error_code(MsgrErrc::kBadFrame));
  endpoint_->set_peer(told->info);
  if (const std::error_code error = make_ready()) return give_up(error);
  if (rdma_establish(id_) != 0) return give_up(last_system_error());
  hand_over();
}

void CmSetup::accept() {
  endpoint_->set_peer(told_);
  if (const std::error_code error = make_ready()) {
    rdma_reject(id_, nullptr, 0);
    return give_up(error);
  }
  const std::vector<std::byte> told = encode_private_data({endpoint_->local(), tickets_.peer});
  rdma_conn_param param = parameters(told);
  param.responder_resources = std::min(param.responder_resources, initiator_depth_);
  param.initiator_depth = std::min(param.initiator_depth, responder_resources_);
  if (rdma_accept(id_, &param) != 0) give_up(last_system_error());
}

// To RTS, by the CM's attributes.
std::error_code CmSetup::make_ready() {
  for (const ibv_qp_state state : {IBV_QPS_RTR, IBV_QPS_RTS}) {
    ibv_qp_attr attributes{};
    attributes.qp_state = state;
    int mask = 0;
    if (rdma_init_qp_attr(id_, &attributes, &mask) != 0) return last_system_error();
    if (const std::error_code error = endpoint_->apply(attributes, mask)) return error;
  }
  return {};
}

// Ending

// What is handed to the loop. If nobody waits there any more, the endpoint is destroyed on the
// service thread, as every endpoint is.
struct CmSetup::Parcel {
  Parcel(StackCore& of, std::unique_ptr<Endpoint> made, CmIdHold held, Address from, Address to)
      : core(of), endpoint(std::move(made)), id(std::move(held)), local(from), peer(to) {}
  Parcel(const Parcel&) = delete;
  ~Parcel() {
    if (endpoint != nullptr) core.service.run([endpoint = std::move(endpoint)] {});
  }
  StackCore& core;
  std::unique_ptr<Endpoint> endpoint;
  CmIdHold id;
  const Address local;
  const Address peer;
};

void CmSetup::hand_over() {
  if (is_ended_ || is_handed_over_ || endpoint_ == nullptr) return;
  is_handed_over_ = true;
  auto parcel = std::make_unique<Parcel>(channel_->core, std::move(endpoint_),
                                         CmIdHold(channel_, id_, shared_from_this()),
                                         Address::from_sockaddr(rdma_get_local_addr(id_)), peer_);
  waiter_->port->post([waiter = waiter_, parcel = std::move(parcel)] {
    auto link = Endpoint::into_link(std::move(parcel->endpoint), parcel->local, parcel->peer);
    waiter->deliver(
        std::make_unique<ForwardingLink<CmIdHold>>(std::move(link), std::move(parcel->id)));
  });
}

void CmSetup::give_up(std::error_code why) {
  if (is_ended_) return;
  abandon();
  waiter_->port->post([waiter = waiter_, why] { waiter->deliver(failure(why)); });
}

void CmSetup::abandon() {
  if (std::exchange(is_ended_, true) || is_handed_over_) return;
  endpoint_.reset();
  if (id_ != nullptr) channel_->forget(id_, this);
}

}  // namespace lunar::msgr::rdma
