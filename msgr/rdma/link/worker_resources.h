// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/host.h"
#include "common/mutex.h"
#include "common/result.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/memory/growth.h"
#include "msgr/rdma/memory/receive_queue.h"
#include "msgr/rdma/queue/credits.h"
#include "msgr/rdma/rdma_options.h"
#include "msgr/rdma/verbs.h"

namespace lunar::msgr::rdma {

class Worker;

// What a worker has of its device. Made, grown and destroyed on the service thread; what says
// nothing else is for that thread. Owned by its worker.
class WorkerResources {
 public:
  static Result<std::unique_ptr<WorkerResources>> create(std::shared_ptr<Device> device,
                                                         const RdmaOptions& options);
  ~WorkerResources();

  // Any thread.
  Device& device() const noexcept { return *device_; }
  ibv_cq* cq() const noexcept { return cq_.get(); }
  ibv_comp_channel* channel() const noexcept { return channel_.get(); }
  ibv_srq* srq() const noexcept { return srq_.get(); }  // null without
  CreditPool& pool() noexcept { return pool_; }

  // Receive buffers for one more link, growing the SRQ up to its option. False if that is reached.
  bool reserve_receives(uint32_t count);
  // More buffers to lend, if the option allows.
  void grow_receives();
  // False once the option is reached, and for a while after memory ran out. Any thread.
  bool can_grow() const noexcept { return growth_.may_go_on(monotonic_now()); }
  // Room on the CQ for all completions that a QP can cause: a CQ that overruns is lost.
  bool reserve_completions(uint32_t count);
  void release_completions(uint32_t count) noexcept { completions_ -= count; }
  // Type-2 windows, at most `count` more. Empty at the limit, or if there are none.
  std::vector<ibv_mw*> allocate_windows(uint32_t count);
  void free_window(ibv_mw* window);

  // The loop.
  ReceiveQueue& receives() noexcept { return receives_; }
  const BufferBlock& bounces() const noexcept { return *bounces_; }
  // An event was taken from the channel. Acknowledged in batches: that takes a lock
  // (ibv_get_cq_event(3)).
  void count_event() noexcept;

 private:
  WorkerResources(std::shared_ptr<Device> device, const RdmaOptions& options);
  std::error_code make_queues();
  uint32_t most_receives() const noexcept;

  const std::shared_ptr<Device> device_;
  const RdmaOptions options_;
  VerbsPtr<ibv_comp_channel> channel_;
  VerbsPtr<ibv_cq> cq_;
  ReceiveQueue receives_;  // its memory outlives the queue
  std::unique_ptr<BufferBlock> bounces_;
  VerbsPtr<ibv_srq> srq_;
  CreditPool pool_;
  Growth growth_;  // of receives_
  uint32_t completions_ = 0;
  uint32_t unacknowledged_ = 0;
  std::vector<VerbsPtr<ibv_mw>> windows_;
};

}  // namespace lunar::msgr::rdma
