// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm_channel.h"

#include <fcntl.h>

#include <atomic>
#include <utility>

#include "common/log.h"
#include "msgr/rdma/verbs.h"

namespace lunar::msgr::rdma {
namespace {

std::atomic<bool> is_library_used{false};

}  // namespace

void release_removed_cm_devices() {
  if (!is_library_used.load()) return;
  int count = 0;
  ibv_context** const contexts = rdma_get_devices(&count);
  if (contexts != nullptr) rdma_free_devices(contexts);
}

// CmEvent

CmEvent::CmEvent(const rdma_cm_event& from)
    : type(from.event), id(from.id), listen_id(from.listen_id), status(from.status) {
  const rdma_conn_param& conn = from.param.conn;
  if (type != RDMA_CM_EVENT_CONNECT_REQUEST && type != RDMA_CM_EVENT_CONNECT_RESPONSE) return;
  responder_resources = conn.responder_resources;
  initiator_depth = conn.initiator_depth;
  const auto* bytes = static_cast<const std::byte*>(conn.private_data);
  if (bytes != nullptr) private_data.assign(bytes, bytes + conn.private_data_len);
}

std::error_code CmEvent::error() const {
  if (status < 0) return verbs_error(-status);
  switch (type) {
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

// CmChannel

std::error_code CmChannel::open() {
  if (channel_ != nullptr) return {};
  is_library_used = true;
  channel_ = rdma_create_event_channel();
  if (channel_ == nullptr) return last_system_error();
  fcntl(channel_->fd, F_SETFL, fcntl(channel_->fd, F_GETFL) | O_NONBLOCK);
  auto made = core.service.center().watch(channel_->fd, FdEvents::kRead,
                                          [this](FdEvents) { read_events(); });
  if (!made) {
    rdma_destroy_event_channel(std::exchange(channel_, nullptr));
    return made.error();
  }
  watch_ = std::move(*made);
  return {};
}

void CmChannel::close() {
  while (!owners_.empty()) {
    const auto& [id, owner] = *owners_.begin();
    forget(id, owner.get());
  }
  watch_ = {};
  if (channel_ != nullptr) rdma_destroy_event_channel(std::exchange(channel_, nullptr));
}

Result<rdma_cm_id*> CmChannel::make_id(std::shared_ptr<CmIdOwner> owner) {
  if (const std::error_code error = open()) return failure(error);
  rdma_cm_id* id = nullptr;
  if (rdma_create_id(channel_, &id, nullptr, RDMA_PS_TCP) != 0) return failure(last_system_error());
  adopt(id, std::move(owner));
  return id;
}

void CmChannel::adopt(rdma_cm_id* id, std::shared_ptr<CmIdOwner> owner) {
  owners_[id] = std::move(owner);
}

void CmChannel::forget(rdma_cm_id* id, const CmIdOwner* of) {
  const auto found = owners_.find(id);
  if (found == owners_.end() || found->second.get() != of) return;
  const std::shared_ptr<CmIdOwner> owner = std::move(found->second);
  owners_.erase(found);
  rdma_destroy_id(id);
}

void CmChannel::read_events() {
  rdma_cm_event* raw = nullptr;
  while (channel_ != nullptr && rdma_get_cm_event(channel_, &raw) == 0) {
    const CmEvent event(*raw);
    rdma_ack_cm_event(raw);
    LUNAR_LOG(kMs, 10, "rdma_cm: {}, status {}", rdma_event_str(event.type), event.status);
    const bool is_request = event.type == RDMA_CM_EVENT_CONNECT_REQUEST;
    const auto found = owners_.find(is_request ? event.listen_id : event.id);
    if (found != owners_.end()) {
      const std::shared_ptr<CmIdOwner> owner = found->second;
      owner->on_event(event);
    } else if (is_request) {
      rdma_destroy_id(event.id);
    }
  }
}

// CmIdHold

CmIdHold::CmIdHold(std::shared_ptr<CmChannel> channel, rdma_cm_id* id,
                   std::shared_ptr<CmIdOwner> owner)
    : channel_(std::move(channel)), id_(id), owner_(std::move(owner)) {}

CmIdHold::CmIdHold(CmIdHold&& other) noexcept
    : channel_(std::move(other.channel_)),
      id_(std::exchange(other.id_, nullptr)),
      owner_(std::move(other.owner_)) {}

CmIdHold::~CmIdHold() {
  if (id_ == nullptr) return;
  channel_->core.service.run([channel = channel_, id = id_, owner = std::move(owner_)] {
    channel->forget(id, owner.get());
  });
}

}  // namespace lunar::msgr::rdma
