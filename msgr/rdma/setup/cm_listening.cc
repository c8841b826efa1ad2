// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm_listening.h"

#include <chrono>
#include <optional>
#include <utility>

#include "common/log_limited.h"
#include "msgr/rdma/setup/cm_setup.h"
#include "msgr/rdma/verbs.h"

namespace lunar::msgr::rdma {
namespace {

constexpr int kBacklog = 128;
constexpr std::chrono::seconds kListenPause{1};  // until the next try of a listener without device

}  // namespace

CmListening::CmListening(std::shared_ptr<CmChannel> channel, std::shared_ptr<CmAwaited> awaited,
                         const Address& local)
    : channel_(std::move(channel)), awaited_(std::move(awaited)), local_(local) {}

void CmListening::begin() {
  timer_ = TimerId::kNone;
  if (is_over_) return;
  if (const std::error_code error = try_listen()) {
    LUNAR_LOG(kMs, std::exchange(has_complained_, true) ? 5 : 1,
              "rdma_cm cannot listen on {} yet: {}", local_.to_string(), error.message());
    try_again_later();
  } else {
    LUNAR_LOG(kMs, 1, "rdma_cm listens on {}", local_.to_string());
  }
}

void CmListening::stop() {
  is_over_ = true;
  channel_->core.service.center().cancel(timer_);
  if (id_ != nullptr) channel_->forget(std::exchange(id_, nullptr), this);
}

void CmListening::on_event(const CmEvent& event) {
  if (event.type == RDMA_CM_EVENT_CONNECT_REQUEST) {
    on_request(event);
  } else if (event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
    channel_->forget(std::exchange(id_, nullptr), this);
    release_removed_cm_devices();
    try_again_later();
  }
}

void CmListening::on_request(const CmEvent& request) {
  const Result<CmPrivateData> told = decode_private_data(request.private_data);
  if (!told) return reject(request);
  const std::optional<CmAwaited::Entry> awaited = awaited_->take(told->ticket);
  if (!awaited) return reject(request);
  auto setup = std::make_shared<CmSetup>(channel_, awaited->waiter, awaited->tickets, true);
  awaited->waiter->accepting = setup;
  setup->begin_accept(request, told->info);
}

void CmListening::reject(const CmEvent& request) {
  channel_->core.counters.cm_refused();
  LUNAR_LOG_LIMITED(kMs, 1, "rdma_cm: a request from {} is rejected: nobody has sent it here",
                    Address::from_sockaddr(rdma_get_peer_addr(request.id)).to_string());
  rdma_reject(request.id, nullptr, 0);
  rdma_destroy_id(request.id);
}

std::error_code CmListening::try_listen() {
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

void CmListening::try_again_later() {
  if (is_over_) return;
  timer_ = channel_->core.service.center().run_after(
      kListenPause, [self = shared_from_this()] { self->begin(); });
}

}  // namespace lunar::msgr::rdma
