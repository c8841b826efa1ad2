// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include "msgr/rdma/link/endpoint.h"
#include "msgr/rdma/link/worker.h"
#include "msgr/rdma/queue/qp_state.h"

namespace lunar::msgr::rdma {

// An RC QP, with receive buffers of its own if the worker has no SRQ. What blocks is for the
// service thread; once it carries a link, posting is for the worker's loop.
// Owned by what sets up the connection, then by its link.
class QueuePair final : public Endpoint {
 public:
  // In INIT, its own receives posted. Options ask for sizes, the device's limits bound them.
  // no_buffer_space: CQ or SRQ cannot grow for it; no_such_device: the device is gone. Blocks.
  static Result<std::unique_ptr<QueuePair>> create(std::shared_ptr<Worker> worker,
                                                   const PortChoice& choice);
  ~QueuePair() override;

  const EndpointInfo& local() const noexcept override { return local_; }
  const EndpointInfo& peer() const noexcept { return peer_; }
  std::error_code connect(const EndpointInfo& peer) override;
  std::error_code apply(ibv_qp_attr attributes, int mask) override;
  void set_peer(const EndpointInfo& peer) override { peer_ = peer; }

  Worker& worker() const noexcept { return *worker_; }
  const std::shared_ptr<Worker>& shared_worker() const noexcept { return worker_; }
  ibv_qp* get() const noexcept { return qp_.get(); }
  uint32_t number() const noexcept { return local_.qp_num; }
  QpLife& life() noexcept { return life_; }
  // Work requests that the send queue holds.
  uint32_t send_slots() const noexcept { return send_slots_; }
  // 0: nothing can be sent inline.
  uint32_t max_inline_bytes() const noexcept { return max_inline_bytes_; }
  // Of one gather list.
  uint32_t max_elements() const noexcept { return max_elements_; }
  // How many READs may be in flight, as both ends agreed. 0 before RTS, or if the peer answers
  // none.
  uint8_t reads_in_flight() const noexcept { return reads_in_flight_; }
  // Where its receives are: a queue of its own, or the worker's SRQ.
  ReceiveQueue& receives() noexcept { return own_receives_ ? *own_receives_ : shared_receives(); }
  bool has_own_receives() const noexcept { return own_receives_ != nullptr; }

  // To ERR, so that all that is posted is flushed. Service thread.
  std::error_code stop();
  // Frees `windows`, which are bound to it, then the QP. Service thread. Does nothing the second
  // time.
  void destroy(const std::vector<ibv_mw*>& windows);

 private:
  QueuePair(std::shared_ptr<Worker> worker, const PortChoice& choice);
  ReceiveQueue& shared_receives() noexcept { return worker_->resources().receives(); }
  std::error_code make();
  std::error_code to_init();
  std::error_code to_ready_to_receive();
  std::error_code to_ready_to_send();
  std::error_code modify(ibv_qp_attr& attributes, int mask, QpState next);

  const std::shared_ptr<Worker> worker_;
  const PortChoice choice_;
  EndpointInfo local_;
  EndpointInfo peer_;
  QpLife life_;
  std::unique_ptr<ReceiveQueue> own_receives_;  // its memory outlives the QP
  VerbsPtr<ibv_qp> qp_;
  uint32_t send_slots_ = 0;
  uint32_t max_inline_bytes_ = 0;
  uint32_t max_elements_ = 1;
  uint8_t reads_in_flight_ = 0;
  uint32_t reserved_completions_ = 0;  // of the worker's CQ; destroy() gives them back
  uint32_t reserved_receives_ = 0;     // of the worker's pool; likewise, and 0 without an SRQ
};

}  // namespace lunar::msgr::rdma
