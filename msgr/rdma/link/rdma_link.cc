// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/rdma_link.h"

#include <algorithm>
#include <string>
#include <utility>

#include "msgr/errors.h"

namespace lunar::msgr::rdma {
namespace {

// Slots of the send queue for credits, an acknowledgement, the farewell and the beacon.
constexpr uint32_t kControlSlots = 8;
constexpr uint32_t kMaxRemoteBytes = 16u << 20;  // no registered slice is longer

PackLimits pack_limits(const QueuePair& qp, const RdmaOptions& options) {
  PackLimits limits;
  limits.segment_bytes = std::min(options.segment_bytes, qp.peer().segment_bytes);
  limits.max_parts = qp.max_parts();
  return limits;
}

// With an SRQ a window grows with use; without one it is all there from the start.
uint32_t most_credits(const QueuePair& qp, const RdmaOptions& options) {
  return qp.has_own_receives() ? qp.local().credits : options.receive_queue_len;
}

}  // namespace

RdmaLink::RdmaLink(std::unique_ptr<QueuePair> qp, Address local, Address peer)
    : worker_(qp->shared_worker()),
      qp_(std::move(qp)),
      center_(worker_->center()),
      options_(worker_->parts().options),
      local_(local),
      peer_(peer),
      alive_(std::make_shared<bool>(true)),
      qp_num_(qp_->number()),
      qp_counters_(*worker_->parts().perf,
                   "rdma-qp." + worker_->device().name() + "." + std::to_string(qp_num_)),
      pack_(pack_limits(*qp_, options_)),
      slots_(qp_->send_slots(), kControlSlots),
      credits_{SendCredits(qp_->peer().credits),
               ReceiveCredits(qp_->local().credits, most_credits(*qp_, options_)),
               {}},
      read_credits_(qp_->reads_in_flight()),
      receiver_(center_, worker_->parts().staging, options_.limits, *this, counters_) {
  capabilities_.one_sided = qp_->peer().one_sided && qp_->reads_in_flight() > 0;
  capabilities_.eager_bytes = pack_.segment_bytes - sizeof(SegmentHeader);
  capabilities_.max_fragment_bytes = capabilities_.one_sided ? kMaxRemoteBytes : 0;
}

std::unique_ptr<RdmaLink> RdmaLink::create(std::unique_ptr<QueuePair> qp, Address local,
                                           Address peer) {
  std::unique_ptr<RdmaLink> link(new RdmaLink(std::move(qp), local, peer));
  const auto slot = link->worker_->add_link(*link, link->qp_num_);
  if (slot) {
    link->slot_ = *slot;
    link->worker_->deliver_early(link->qp_num_);
    // If it went while the connection was made, its links were ended before this was one of them.
    if (link->worker_->device().is_gone()) {
      link->fail(std::make_error_code(std::errc::no_such_device));
    }
    return link;
  }
  link->state_ = State::kFailed;
  link->error_ = slot.error();
  link->receiver_.stop();
  link->is_destroyed_ = true;
  link->let_go_of_qp();
  return link;
}

void RdmaLink::set_handler(LinkHandler* handler) {
  center_.assert_in_loop();
  receiver_.set_handler(handler);
  if (state_ == State::kFailed && is_destroyed_) {
    center_.post([this, alive = alive_] {
      if (*alive) report_failure();
    });
  }
  schedule_process();
}

void RdmaLink::pause_reading() {
  center_.assert_in_loop();
  receiver_.pause();
}

void RdmaLink::resume_reading() {
  center_.assert_in_loop();
  receiver_.resume();
  schedule_process();
}

void RdmaLink::abandon_payload(uint64_t tid) {
  center_.assert_in_loop();
  receiver_.abandon_payload(tid);
}

QpState RdmaLink::state_of_qp() const noexcept {
  return qp_ ? qp_->life().state() : QpState::kDestroyed;
}

}  // namespace lunar::msgr::rdma
