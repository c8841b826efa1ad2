// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/cm.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <rdma/rdma_cma.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <unordered_map>
#include <utility>

#include "common/log.h"
#include "common/mutex.h"
#include "msgr/errors.h"
#include "msgr/rdma/endpoint.h"
#include "msgr/rdma/forwarding_link.h"

// Everything with "id" or "event" in its name runs on the service thread. An event is copied and
// acknowledged before it is handled: rdma_destroy_id(3) waits for that. An id lives as long as its
// link, as its end would tell the peer's CM that the connection is over; only the removal of its
// device ends it earlier, because the kernel waits for it then.

namespace lunar::msgr::rdma {
namespace {

constexpr int kResolveTimeoutMs = 2000;
constexpr int kBacklog = 128;
constexpr std::chrono::seconds kListenPause{1};  // until the next try of a listener without device
constexpr uint8_t kRetries = 6;  // rxe takes 7 for "for ever", as RNR retries have it

struct CmEvent {
  explicit CmEvent(const rdma_cm_event& from)
      : type(from.event), id(from.id), listen_id(from.listen_id), status(from.status) {
    const rdma_conn_param& conn = from.param.conn;
    if (type != RDMA_CM_EVENT_CONNECT_REQUEST && type != RDMA_CM_EVENT_CONNECT_RESPONSE) return;
    responder_resources = conn.responder_resources;
    initiator_depth = conn.initiator_depth;
    const auto* bytes = static_cast<const std::byte*>(conn.private_data);
    if (bytes != nullptr) private_data.assign(bytes, bytes + conn.private_data_len);
  }
  rdma_cm_event_type type;
  rdma_cm_id* id;
  rdma_cm_id* listen_id;
  int status;
  uint8_t responder_resources = 0;
  uint8_t initiator_depth = 0;
  std::vector<std::byte> private_data;
};

std::error_code error_of(const CmEvent& event) {
  if (event.status < 0) return verbs_error(-event.status);
  switch (event.type) {
    case RDMA_CM_EVENT_REJECTED:
      return std::make_error_code(std::errc::connection_refused);
    case RDMA_CM_EVENT_UNREACHABLE:
      return std::make_error_code(std::errc::host_unreachable);
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      return std::make_error_code(std::errc::no_such_device);
    default:
      return std::make_error_code(std::errc::io_error);
  }
}

// Receives the events of one id.
struct IdOwner {
  virtual ~IdOwner() = default;
  virtual void on_event(const CmEvent& event) = 0;
};

std::atomic<bool> is_library_used{false};

}  // namespace

void release_removed_cm_devices() {
  if (!is_library_used.load()) return;
  int count = 0;
  ibv_context** const contexts = rdma_get_devices(&count);
  if (contexts != nullptr) rdma_free_devices(contexts);
}

struct Cm::Channel : std::enable_shared_from_this<Channel> {
  explicit Channel(StackCore& with) : core(with) {}

  std::error_code open() {
    if (channel != nullptr) return {};
    is_library_used = true;
    channel = rdma_create_event_channel();
    if (channel == nullptr) return last_system_error();
    fcntl(channel->fd, F_SETFL, fcntl(channel->fd, F_GETFL) | O_NONBLOCK);
    auto made = core.service.center().watch(channel->fd, FdEvents::kRead,
                                            [this](FdEvents) { read_events(); });
    if (!made) {
      rdma_destroy_event_channel(std::exchange(channel, nullptr));
      return made.error();
    }
    watch = std::move(*made);
    return {};
  }
  void close() {
    while (!owners.empty()) {
      const auto& [id, owner] = *owners.begin();
      forget(id, owner.get());
    }
    watch = {};
    if (channel != nullptr) rdma_destroy_event_channel(std::exchange(channel, nullptr));
  }
  Result<rdma_cm_id*> make_id(std::shared_ptr<IdOwner> owner) {
    if (const std::error_code error = open()) return fail(error);
    rdma_cm_id* id = nullptr;
    if (rdma_create_id(channel, &id, nullptr, RDMA_PS_TCP) != 0) return fail(last_system_error());
    owners[id] = std::move(owner);
    return id;
  }
  // Destroys the id. Nothing if it was, and another has its address now.
  void forget(rdma_cm_id* id, const IdOwner* of) {
    const auto found = owners.find(id);
    if (found == owners.end() || found->second.get() != of) return;
    const std::shared_ptr<IdOwner> owner = std::move(found->second);
    owners.erase(found);
    rdma_destroy_id(id);
  }
  void read_events() {
    rdma_cm_event* raw = nullptr;
    while (channel != nullptr && rdma_get_cm_event(channel, &raw) == 0) {
      const CmEvent event(*raw);
      rdma_ack_cm_event(raw);
      LUNAR_LOG(kMs, 10, "rdma_cm: {}, status {}", rdma_event_str(event.type), event.status);
      const bool is_request = event.type == RDMA_CM_EVENT_CONNECT_REQUEST;
      const auto found = owners.find(is_request ? event.listen_id : event.id);
      if (found != owners.end()) {
        const std::shared_ptr<IdOwner> owner = found->second;
        owner->on_event(event);
      } else if (is_request) {
        rdma_destroy_id(event.id);
      }
    }
  }

  StackCore& core;
  rdma_event_channel* channel = nullptr;
  FdWatch watch;
  std::unordered_map<rdma_cm_id*, std::shared_ptr<IdOwner>> owners;
};

namespace {

using Channel = Cm::Channel;

// Has the id of a link destroyed when the link is.
class IdHold {
 public:
  IdHold(std::shared_ptr<Channel> channel, rdma_cm_id* id, std::shared_ptr<IdOwner> owner)
      : channel_(std::move(channel)), id_(id), owner_(std::move(owner)) {}
  IdHold(IdHold&& other) noexcept
      : channel_(std::move(other.channel_)),
        id_(std::exchange(other.id_, nullptr)),
        owner_(std::move(other.owner_)) {}
  IdHold& operator=(IdHold&&) = delete;
  ~IdHold() {
    if (id_ == nullptr) return;
    channel_->core.service.run([channel = channel_, id = id_, owner = std::move(owner_)] {
      channel->forget(id, owner.get());
    });
  }

 private:
  std::shared_ptr<Channel> channel_;
  rdma_cm_id* id_;
  std::shared_ptr<IdOwner> owner_;  // an address alone may come back
};

// What waits on a loop for a link: a connect or a listener. `deliver` runs there, and must not once
// is_over.
struct Waiter {
  UniqueFunction<void(Result<std::unique_ptr<Link>>)> deliver;
  bool is_over = false;  // the loop's
  EventCenter* center = nullptr;
  std::shared_ptr<LoopPort> port;
};

// One connection on its way, on either side.
class Setup final : public IdOwner, public std::enable_shared_from_this<Setup> {
 public:
  Setup(std::shared_ptr<Channel> channel, std::shared_ptr<Waiter> waiter, bool accepts)
      : channel_(std::move(channel)), waiter_(std::move(waiter)), accepts_(accepts) {}

  void begin_connect(const Address& peer) {
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
  void begin_accept(const CmEvent& request) {
    id_ = request.id;
    channel_->owners[id_] = shared_from_this();
    peer_ = Address::from_sockaddr(rdma_get_peer_addr(id_));
    responder_resources_ = request.responder_resources;
    initiator_depth_ = request.initiator_depth;
    const Result<EndpointInfo> told = decode_private_data(request.private_data);
    if (!told) {
      rdma_reject(id_, nullptr, 0);
      return give_up(told.error());
    }
    told_ = *told;
    find_device();
  }
  // The waiter is gone.
  void abandon() { end(); }

  void on_event(const CmEvent& event) override {
    switch (event.type) {
      case RDMA_CM_EVENT_ADDR_RESOLVED:
        return find_device();
      case RDMA_CM_EVENT_ROUTE_RESOLVED:
        return send_connect();
      case RDMA_CM_EVENT_CONNECT_RESPONSE:
        return answered(event);
      case RDMA_CM_EVENT_ESTABLISHED:
        if (accepts_) hand_over();
        return;
      case RDMA_CM_EVENT_DEVICE_REMOVAL:
        if (!is_handed_over_) return give_up(error_of(event));
        channel_->forget(id_, this);  // the link hears of it by the removal of the device
        release_removed_cm_devices();
        return;
      case RDMA_CM_EVENT_DISCONNECTED:
      case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        // The link has better signs of its peer's end: what is in flight may still arrive.
        if (!is_handed_over_) give_up(make_error_code(Errc::kClosedByPeer));
        return;
      default:
        if (!is_handed_over_) give_up(error_of(event));
        return;
    }
  }

 private:
  void set_traffic_class(uint8_t tos) {
    if (rdma_set_option(id_, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &tos, sizeof tos) != 0) {
      LUNAR_LOG(kMs, 1, "rdma_cm: no traffic class: {}", last_system_error().message());
    }
  }

  void find_device() {
    if (id_->verbs == nullptr) return give_up(std::make_error_code(std::errc::no_such_device));
    const RdmaOptions& options = channel_->core.options;
    path_.device = ibv_get_device_name(id_->verbs->device);
    path_.port = id_->port_num;
    if ((!options.device_name.empty() && options.device_name != path_.device) ||
        (options.port_num != 0 && options.port_num != path_.port) ||
        id_->verbs->device->transport_type == IBV_TRANSPORT_IWARP) {
      return give_up(std::make_error_code(std::errc::no_such_device));
    }
    std::memcpy(path_.gid.data(), id_->route.addr.addr.ibaddr.sgid.raw, path_.gid.size());
    auto device = channel_->core.devices->find_device(path_.device);
    if (!device) {
      LUNAR_LOG(kMs, 1, "rdma_cm: {}", device.error().message);
      return give_up(device.error().code);
    }
    auto boxed = std::make_unique<std::shared_ptr<Device>>(std::move(*device));
    const bool posted = waiter_->port->post([self = shared_from_this(), boxed = std::move(boxed)] {
      self->get_worker(std::move(*boxed));
    });
    if (!posted) end();
  }
  // On the loop.
  void get_worker(std::shared_ptr<Device> device) {
    if (waiter_->is_over) return run([](Setup& self) { self.end(); });
    channel_->core.workers->get(
        *waiter_->center, waiter_->port, std::move(device),
        [self = shared_from_this()](Result<std::shared_ptr<Worker>> worker) {
          auto boxed = std::make_shared<Result<std::shared_ptr<Worker>>>(std::move(worker));
          self->run([boxed](Setup& setup) { setup.make_endpoint(std::move(*boxed)); });
        });
  }
  // From the loop to the service thread.
  template <typename F>
  void run(F fn) {
    channel_->core.service.run([self = shared_from_this(), fn = std::move(fn)] { fn(*self); });
  }
  void make_endpoint(Result<std::shared_ptr<Worker>> worker) {
    if (is_ended_) return;
    if (!worker) return give_up(worker.error());
    auto endpoint = Endpoint::create(std::move(*worker), path_);
    if (!endpoint) return give_up(endpoint.error());
    endpoint_ = std::move(*endpoint);
    if (accepts_) return accept();
    if (rdma_resolve_route(id_, kResolveTimeoutMs) != 0) give_up(last_system_error());
  }

  rdma_conn_param parameters(const std::vector<std::byte>& private_data) const {
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
  void send_connect() {
    if (endpoint_ == nullptr) return;
    const std::vector<std::byte> told = encode_private_data(endpoint_->local());
    rdma_conn_param param = parameters(told);
    if (rdma_connect(id_, &param) != 0) give_up(last_system_error());
  }
  void answered(const CmEvent& event) {
    const Result<EndpointInfo> told = decode_private_data(event.private_data);
    if (!told || endpoint_ == nullptr) {
      return give_up(told ? make_error_code(Errc::kClosed) : told.error());
    }
    endpoint_->set_peer(*told);
    if (const std::error_code error = make_ready()) return give_up(error);
    if (rdma_establish(id_) != 0) return give_up(last_system_error());
    hand_over();
  }
  void accept() {
    endpoint_->set_peer(told_);
    if (const std::error_code error = make_ready()) {
      rdma_reject(id_, nullptr, 0);
      return give_up(error);
    }
    const std::vector<std::byte> told = encode_private_data(endpoint_->local());
    rdma_conn_param param = parameters(told);
    param.responder_resources = std::min(param.responder_resources, initiator_depth_);
    param.initiator_depth = std::min(param.initiator_depth, responder_resources_);
    if (rdma_accept(id_, &param) != 0) give_up(last_system_error());
  }
  // To RTS, by the CM's attributes.
  std::error_code make_ready() {
    for (const ibv_qp_state state : {IBV_QPS_RTR, IBV_QPS_RTS}) {
      ibv_qp_attr attributes{};
      attributes.qp_state = state;
      int mask = 0;
      if (rdma_init_qp_attr(id_, &attributes, &mask) != 0) return last_system_error();
      if (const std::error_code error = endpoint_->apply(attributes, mask)) return error;
    }
    return {};
  }

  void hand_over() {
    if (is_ended_ || is_handed_over_ || endpoint_ == nullptr) return;
    is_handed_over_ = true;
    // The loop takes both; if it does not run any more, they are destroyed here.
    struct Parcel {
      std::unique_ptr<Endpoint> endpoint;
      IdHold id;
      Address local;
      Address peer;
      StackCore& core;
    };
    auto parcel = std::make_unique<Parcel>(
        Parcel{std::move(endpoint_), IdHold(channel_, id_, shared_from_this()),
               Address::from_sockaddr(rdma_get_local_addr(id_)), peer_, channel_->core});
    waiter_->port->post([waiter = waiter_, parcel = std::move(parcel)] {
      if (waiter->is_over) {
        parcel->core.service.run([endpoint = std::move(parcel->endpoint)] {});
        return;
      }
      parcel->core.counters.link_made(true);
      auto link = Endpoint::into_link(std::move(parcel->endpoint), parcel->local, parcel->peer);
      waiter->deliver(
          std::make_unique<ForwardingLink<IdHold>>(std::move(link), std::move(parcel->id)));
    });
  }
  void give_up(std::error_code why) {
    if (is_ended_) return;
    end();
    if (accepts_) {
      LUNAR_LOG(kMs, 1, "rdma_cm: no link with {}: {}", peer_.to_string(), why.message());
      return;
    }
    waiter_->port->post([waiter = waiter_, why] {
      if (!waiter->is_over) waiter->deliver(fail(why));
    });
  }
  void end() {
    if (std::exchange(is_ended_, true) || is_handed_over_) return;
    endpoint_.reset();
    if (id_ != nullptr) channel_->forget(id_, this);
  }

  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Waiter> waiter_;
  const bool accepts_;
  rdma_cm_id* id_ = nullptr;
  Address peer_;
  Path path_;
  EndpointInfo told_;
  uint8_t responder_resources_ = 0;
  uint8_t initiator_depth_ = 0;
  std::unique_ptr<Endpoint> endpoint_;
  bool is_ended_ = false;
  bool is_handed_over_ = false;
};

class CmConnect final : public PendingConnect {
 public:
  CmConnect(std::shared_ptr<Waiter> waiter, std::shared_ptr<Setup> setup, ServiceThread& service)
      : waiter_(std::move(waiter)), setup_(std::move(setup)), service_(service) {}
  ~CmConnect() override {
    waiter_->is_over = true;
    waiter_->port->close();
    service_.run([setup = setup_] { setup->abandon(); });
  }

 private:
  const std::shared_ptr<Waiter> waiter_;
  const std::shared_ptr<Setup> setup_;
  ServiceThread& service_;
};

// The service thread's half of a listener.
class Listening final : public IdOwner, public std::enable_shared_from_this<Listening> {
 public:
  Listening(std::shared_ptr<Channel> channel, std::shared_ptr<Waiter> waiter, const Address& local)
      : channel_(std::move(channel)), waiter_(std::move(waiter)), local_(local) {}

  void begin() {
    timer_ = TimerId::kNone;
    if (is_over_) return;
    if (const std::error_code error = try_listen()) {
      LUNAR_LOG(kMs, std::exchange(has_complained_, true) ? 5 : 1,
                "rdma_cm cannot listen on {} yet: {}", local_.to_string(), error.message());
      again();
    } else {
      LUNAR_LOG(kMs, 1, "rdma_cm listens on {}", local_.to_string());
    }
  }
  void end() {
    is_over_ = true;
    channel_->core.service.center().cancel(timer_);
    if (id_ != nullptr) channel_->forget(std::exchange(id_, nullptr), this);
  }
  void on_event(const CmEvent& event) override {
    if (event.type == RDMA_CM_EVENT_CONNECT_REQUEST) {
      std::make_shared<Setup>(channel_, waiter_, true)->begin_accept(event);
    } else if (event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
      channel_->forget(std::exchange(id_, nullptr), this);
      release_removed_cm_devices();
      again();
    }
  }

 private:
  std::error_code try_listen() {
    auto id = channel_->make_id(shared_from_this());
    if (!id) return id.error();
    sockaddr_storage storage{};
    local_.to_sockaddr(storage);
    int only_ipv6 = local_.is_ipv6() ? 1 : 0;
    if (only_ipv6 != 0) {
      rdma_set_option(*id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &only_ipv6, sizeof only_ipv6);
    }
    if (rdma_bind_addr(*id, reinterpret_cast<sockaddr*>(&storage)) != 0 ||
        rdma_listen(*id, kBacklog) != 0) {
      const std::error_code error = last_system_error();
      channel_->forget(*id, this);
      return error;
    }
    id_ = *id;
    return {};
  }
  void again() {
    if (is_over_) return;
    timer_ = channel_->core.service.center().run_after(
        kListenPause, [self = shared_from_this()] { self->begin(); });
  }

  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Waiter> waiter_;
  const Address local_;
  rdma_cm_id* id_ = nullptr;
  TimerId timer_ = TimerId::kNone;
  bool is_over_ = false;
  bool has_complained_ = false;
};

class CmListener final : public Listener {
 public:
  CmListener(std::shared_ptr<Waiter> waiter, std::shared_ptr<Listening> listening,
             ServiceThread& service, const Address& local)
      : waiter_(std::move(waiter)),
        listening_(std::move(listening)),
        service_(service),
        local_(local) {}
  ~CmListener() override {
    waiter_->is_over = true;
    waiter_->port->close();
    service_.run([listening = listening_] { listening->end(); });
  }
  Address local_address() const override { return local_; }

 private:
  const std::shared_ptr<Waiter> waiter_;
  const std::shared_ptr<Listening> listening_;
  ServiceThread& service_;
  const Address local_;
};

std::shared_ptr<Waiter> make_waiter(EventCenter& center) {
  auto waiter = std::make_shared<Waiter>();
  waiter->center = &center;
  waiter->port = LoopPort::open(center);
  return waiter;
}

}  // namespace

Cm::Cm(StackCore& core) : core_(core), channel_(std::make_shared<Channel>(core)) {}

Cm::~Cm() = default;

void Cm::close() { channel_->close(); }

std::unique_ptr<PendingConnect> Cm::connect(EventCenter& center, const Address& peer,
                                            ConnectDone done) {
  auto waiter = make_waiter(center);
  auto boxed = std::make_unique<ConnectDone>(std::move(done));
  waiter->deliver = [boxed = std::move(boxed)](Result<std::unique_ptr<Link>> link) {
    ConnectDone run = std::move(*boxed);
    run(std::move(link));  // may destroy the pending connect
  };
  auto setup = std::make_shared<Setup>(channel_, waiter, false);
  const std::error_code error = core_.service.run([setup, peer] { setup->begin_connect(peer); });
  if (error) {
    center.post([waiter, error] {
      if (!waiter->is_over) waiter->deliver(fail(error));
    });
  }
  return std::make_unique<CmConnect>(waiter, setup, core_.service);
}

std::unique_ptr<Listener> Cm::listen(EventCenter& center, const Address& local,
                                     AcceptCallback on_accept) {
  auto waiter = make_waiter(center);
  auto boxed = std::make_unique<AcceptCallback>(std::move(on_accept));
  waiter->deliver = [boxed = std::move(boxed)](Result<std::unique_ptr<Link>> link) {
    if (link) (*boxed)(std::move(*link));
  };
  auto listening = std::make_shared<Listening>(channel_, waiter, local);
  core_.service.run([listening] { listening->begin(); });
  return std::make_unique<CmListener>(waiter, listening, core_.service, local);
}

}  // namespace lunar::msgr::rdma
