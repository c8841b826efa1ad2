// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/worker_resources.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/host.h"

namespace lunar::msgr::rdma {
namespace {

constexpr uint32_t kFirstCompletions = 8192;
constexpr uint32_t kEventsPerAck = 64;
constexpr uint32_t kMaxWindows = 4096;

}  // namespace

WorkerResources::WorkerResources(std::shared_ptr<Device> device, const RdmaOptions& options)
    : device_(std::move(device)),
      options_(options),
      receives_(device_, options.segment_bytes, options.use_hugepages) {}

WorkerResources::~WorkerResources() {
  if (cq_ && unacknowledged_ > 0) ibv_ack_cq_events(cq_.get(), unacknowledged_);
}

Result<std::unique_ptr<WorkerResources>> WorkerResources::create(std::shared_ptr<Device> device,
                                                                 const RdmaOptions& options) {
  std::unique_ptr<WorkerResources> made(new WorkerResources(std::move(device), options));
  if (const auto error = made->make_queues()) return failure(error);
  auto bounces = BufferBlock::create(&made->device(), options.send_buffers, options.segment_bytes,
                                     0, options.use_hugepages);
  if (!bounces) return failure(bounces.error());
  made->bounces_ = std::move(*bounces);
  return made;
}

std::error_code WorkerResources::make_queues() {
  ibv_context* const context = device_->context();
  channel_.reset(ibv_create_comp_channel(context));
  if (!channel_) return verbs_error(errno);
  const int flags = fcntl(channel_->fd, F_GETFL);
  if (flags < 0 || fcntl(channel_->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return last_system_error();
  }
  const ibv_device_attr& limits = device_->limits();
  const auto size = std::min<uint32_t>(kFirstCompletions, static_cast<uint32_t>(limits.max_cqe));
  cq_.reset(ibv_create_cq(context, static_cast<int>(size), this, channel_.get(), 0));
  if (!cq_) return verbs_error(errno);
  if (!options_.use_srq || !device_->features().srq) return {};

  const uint32_t most = most_receives();
  ibv_srq_init_attr wanted{};
  wanted.attr.max_wr = most;
  wanted.attr.max_sge = 1;
  srq_.reset(ibv_create_srq(device_->pd(), &wanted));
  if (!srq_) return verbs_error(errno);
  if (!reserve_completions(most)) return std::make_error_code(std::errc::no_buffer_space);
  receives_.set_target(srq_.get());
  growth_.begin();
  grow_receives();
  return pool_.total() > 0 ? std::error_code() : verbs_error(ENOMEM);
}

uint32_t WorkerResources::most_receives() const noexcept {
  return std::min({options_.receive_buffers, ReceiveQueue::kMaxBuffers,
                   static_cast<uint32_t>(std::max(device_->limits().max_srq_wr, 0))});
}

void WorkerResources::grow_receives() {
  if (!can_grow()) return;
  const uint32_t missing = most_receives() - receives_.count();
  const uint32_t count = std::min(missing, ReceiveQueue::kBuffersPerBlock);
  if (count == 0) return growth_.end();
  if (receives_.add(count)) {
    if (!receives_.takes_more()) return growth_.end();
    return growth_.failed(monotonic_now());
  }
  pool_.add(count);
  if (count == missing) growth_.end();
}

bool WorkerResources::reserve_receives(uint32_t count) {
  while (!pool_.reserve(count)) {
    if (!can_grow()) return false;
    grow_receives();
  }
  return true;
}

bool WorkerResources::reserve_completions(uint32_t count) {
  const uint32_t wanted = completions_ + count;
  if (wanted > static_cast<uint32_t>(cq_->cqe)) {
    const auto most = static_cast<uint32_t>(device_->limits().max_cqe);
    if (wanted > most) return false;
    const uint32_t size = std::min(most, std::max(wanted, static_cast<uint32_t>(cq_->cqe) * 2));
    if (ibv_resize_cq(cq_.get(), static_cast<int>(size)) != 0) return false;
  }
  completions_ = wanted;
  return true;
}

std::vector<ibv_mw*> WorkerResources::allocate_windows(uint32_t count) {
  std::vector<ibv_mw*> out;
  while (out.size() < count && windows_.size() < kMaxWindows) {
    VerbsPtr<ibv_mw> window(ibv_alloc_mw(device_->pd(), IBV_MW_TYPE_2));
    if (!window) break;
    out.push_back(window.get());
    windows_.push_back(std::move(window));
  }
  return out;
}

void WorkerResources::free_window(ibv_mw* window) {
  std::erase_if(windows_, [window](const auto& held) { return held.get() == window; });
}

void WorkerResources::count_event() noexcept {
  if (++unacknowledged_ < kEventsPerAck) return;
  ibv_ack_cq_events(cq_.get(), unacknowledged_);
  unacknowledged_ = 0;
}

}  // namespace lunar::msgr::rdma
