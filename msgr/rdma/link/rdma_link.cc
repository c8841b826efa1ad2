// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/rdma_link.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/check.h"
#include "msgr/errors.h"
#include "msgr/net/outgoing.h"

namespace lunar::msgr::rdma {
namespace {

constexpr uint32_t kMaxRemoteBytes = 16u << 20;  // no registered slice is longer

PackLimits pack_limits(const QueuePair& qp, const RdmaOptions& options) {
  PackLimits limits;
  limits.segment_bytes = std::min(options.segment_bytes, qp.peer().segment_bytes);
  limits.max_elements = qp.max_elements();
  return limits;
}

// With an SRQ a window grows with use; without one it is all there from the start.
uint32_t most_credits(const QueuePair& qp, const RdmaOptions& options) {
  return qp.has_own_receives() ? qp.local().credits : options.receive_queue_len;
}

Bytes range_of(const RegisteredSlice& slice) noexcept {
  const Bytes memory = slice.buffer->bytes();
  LUNAR_CHECK(slice.offset <= memory.size() && slice.length <= memory.size() - slice.offset,
              "a slice lies in its buffer");
  return memory.subspan(slice.offset, slice.length);
}

}  // namespace

RdmaLink::RdmaLink(std::unique_ptr<QueuePair> qp, Address local, Address peer)
    : worker_(qp->shared_worker()),
      qp_(std::move(qp)),
      local_(local),
      peer_(peer),
      qp_counters_(*worker_->stack().perf,
                   "rdma-qp." + worker_->device().name() + "." + std::to_string(qp_->number())),
      core_{worker_->center(),
            worker_->stack().options,
            *this,
            qp_->receives(),
            worker_->has_srq() ? &worker_->pool() : nullptr,
            LinkCounts(qp_counters_, worker_->counters()),
            qp_->number(),
            {SendCredits(qp_->peer().credits),
             ReceiveCredits(qp_->local().credits, most_credits(*qp_, worker_->stack().options)),
             {}}},
      keys_(core_.center, worker_->windows()),
      sending_(core_, {qp_->get(), qp_->send_slots(), qp_->max_inline_bytes(),
                       qp_->reads_in_flight(), pack_limits(*qp_, core_.options), worker_->chain(),
                       worker_->bounces(), worker_->payload_keys(), keys_}),
      receiving_(core_, sending_,
                 {worker_->stack().staging, worker_->idle_watch(),
                  [worker = worker_.get()] { worker->want_receives(); }}),
      end_(core_.center, *this, qp_->life(), worker_->has_srq() ? &worker_->last_wqe() : nullptr,
           core_.options.drain_timeout) {
  capabilities_.one_sided = qp_->peer().one_sided && qp_->reads_in_flight() > 0;
  capabilities_.eager_bytes =
      pack_limits(*qp_, core_.options).segment_bytes - sizeof(SegmentHeader);
  capabilities_.max_fragment_bytes = capabilities_.one_sided ? kMaxRemoteBytes : 0;
}

std::unique_ptr<RdmaLink> RdmaLink::create(std::unique_ptr<QueuePair> qp, Address local,
                                           Address peer) {
  std::unique_ptr<RdmaLink> link(new RdmaLink(std::move(qp), local, peer));
  const uint32_t qp_num = link->core_.qp_num;
  const auto slot = link->worker_->add_link(*link, qp_num);
  if (slot) {
    link->core_.slot = *slot;
    link->worker_->deliver_early(qp_num);
    // If the device went while the connection was made, its links were ended without this one.
    if (link->worker_->device().is_gone()) {
      link->fail(std::make_error_code(std::errc::no_such_device));
    }
    return link;
  }
  link->state_ = State::kFailed;
  link->error_ = slot.error();
  link->receiving_.stop();
  link->sending_.stop();
  link->end_.skip();
  link->release_qp();
  return link;
}

// --- Link ----------------------------------------------------------------------------------------

void RdmaLink::set_handler(LinkHandler* handler) {
  core_.center.assert_in_loop();
  receiving_.set_handler(handler);
  if (state_ == State::kFailed && end_.is_destroyed()) {
    core_.center.post([this, alive = core_.alive] {
      if (*alive) report_failure();
    });
  }
}

void RdmaLink::pause_reading() {
  core_.center.assert_in_loop();
  receiving_.pause();
}

void RdmaLink::resume_reading() {
  core_.center.assert_in_loop();
  receiving_.resume();
}

void RdmaLink::abandon_payload(uint64_t tid) {
  core_.center.assert_in_loop();
  receiving_.abandon_payload(tid);
}

void RdmaLink::send(Frame frame, IoDone sent) {
  core_.center.assert_in_loop();
  if (!is_open()) return post_done(core_.center, std::move(sent), error_);
  const RdmaOptions& options = core_.options;
  if (const auto error = seal_outgoing(frame, options.limits, options.crc_data)) {
    return post_done(core_.center, std::move(sent), error);
  }
  sending_.send(std::move(frame), std::move(sent));
}

// Any error but kStaleKey ends the link: callers rely on that, and answer again on the next one.
void RdmaLink::refuse(IoDone done) {
  const auto error = std::make_error_code(std::errc::invalid_argument);
  post_done(core_.center, std::move(done), error);
  fail(error);
}

void RdmaLink::remote_read(RemoteKey from, RegisteredSlice local, IoDone done) {
  core_.center.assert_in_loop();
  LUNAR_CHECK(capabilities_.one_sided, "this link has no one-sided operations");
  if (!is_open()) return post_done(core_.center, std::move(done), error_);
  const Bytes range = range_of(local);
  uint32_t lkey = 0;
  if (local.length > from.length || !worker_->payload_keys().find(range, &lkey)) {
    return refuse(std::move(done));
  }
  sending_.read({FragmentCutter(from.addr, local.length, core_.options.fragment_bytes),
                 range.data(), lkey, from.rkey, std::move(done)});
}

void RdmaLink::remote_write(RegisteredSlice local, RemoteKey to, IoDone done) {
  core_.center.assert_in_loop();
  LUNAR_CHECK(capabilities_.one_sided, "this link has no one-sided operations");
  if (!is_open()) return post_done(core_.center, std::move(done), error_);
  const Bytes range = range_of(local);
  uint32_t lkey = 0;
  if (local.length > to.length || !worker_->payload_keys().find(range, &lkey)) {
    return refuse(std::move(done));
  }
  sending_.write({FragmentCutter(to.addr, local.length, core_.options.fragment_bytes), range.data(),
                  lkey, to.rkey, std::move(done)});
}

Result<RemoteKey> RdmaLink::expose(RegisteredSlice local, RemoteAccess access) {
  core_.center.assert_in_loop();
  if (!is_open()) return failure(error_);
  const Bytes range = range_of(local);
  const MemoryKeys* const keys = worker_->payload_keys().find_front_end(range);
  if (keys == nullptr || range.empty()) {
    return failure(std::make_error_code(std::errc::operation_not_supported));
  }
  if (core_.options.rkey_scope == RkeyScope::kArena) {
    RemoteKey key;
    key.addr = reinterpret_cast<uint64_t>(range.data());
    key.length = local.length;
    key.rkey = keys->rkey;
    return key;
  }
  const auto key = keys_.expose(range, *keys, access);
  if (key) sending_.bind(key->rkey);
  return key;
}

void RdmaLink::revoke(const RemoteKey& key, IoDone done) {
  core_.center.assert_in_loop();
  if (!is_open()) return post_done(core_.center, std::move(done), error_);
  if (keys_.begin_revoke(key.rkey, std::move(done))) sending_.invalidate(key.rkey);
}

// --- the worker's events -------------------------------------------------------------------------

void RdmaLink::on_segment(uint32_t buffer, uint32_t length) {
  receiving_.on_segment(buffer, length, worker_->batch());
}

void RdmaLink::on_receive_error(ibv_wc_status status) {
  if (is_open()) fail_qp(wc_error(status));
}

void RdmaLink::on_send_completion(uint32_t seq, ibv_wc_status status) {
  SendSide::Retired retired = sending_.on_completion(seq, status);
  end_.check_farewell(retired.has_farewell);
  for (IoDone& done : retired.finished) done({});  // may destroy this
}

void RdmaLink::on_async_event(ibv_event_type type) {
  qp_counters_.add(Count::kAsyncEvents);
  switch (type) {
    case IBV_EVENT_QP_LAST_WQE_REACHED:
      return end_.on_last_wqe();
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_PATH_MIG_ERR:
      fail_qp(std::make_error_code(type == IBV_EVENT_QP_ACCESS_ERR ? std::errc::permission_denied
                                                                   : std::errc::io_error));
      return end_.check_farewell(false);
    default:
      return;
  }
}

}  // namespace lunar::msgr::rdma
