// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/mutex.h"
#include "msgr/rdma/counters.h"
#include "msgr/rdma/link/bounce_buffers.h"
#include "msgr/rdma/link/early_receives.h"
#include "msgr/rdma/link/endpoint.h"
#include "msgr/rdma/link/idle_watch.h"
#include "msgr/rdma/link/last_wqe.h"
#include "msgr/rdma/link/link_table.h"
#include "msgr/rdma/link/payload_keys.h"
#include "msgr/rdma/link/window_stock.h"
#include "msgr/rdma/link/worker_resources.h"
#include "msgr/rdma/queue/post_chain.h"

namespace lunar::msgr::rdma {

// What one loop uses of one device: a CQ with its completion channel, an SRQ, receive and bounce
// buffers, windows. Takes completions off the CQ and gives them to the links they belong to; what
// its links share has a class of its own each.
// Loop-bound but where it says otherwise; may be let go of on any thread, since it is registered
// with the loop only while it has links. Shared by its links and endpoints.
class Worker final : public Poller, public std::enable_shared_from_this<Worker> {
 public:
  // Blocks; service thread. The center is only kept.
  static Result<std::shared_ptr<Worker>> create(EventCenter& center, std::shared_ptr<Device> device,
                                                const StackResources& stack);
  ~Worker() override;

  // Any thread.
  EventCenter& center() const noexcept { return center_; }
  const StackResources& stack() const noexcept { return stack_; }
  Device& device() const noexcept { return resources_->device(); }
  WorkerResources& resources() noexcept { return *resources_; }
  CreditPool& pool() noexcept { return resources_->pool(); }
  bool has_srq() const noexcept { return resources_->srq() != nullptr; }
  const PayloadKeys& payload_keys() const noexcept { return payload_keys_; }
  // Runs fn on the loop. False, and fn is destroyed, if the worker has no link.
  bool post_to_loop(UniqueFunction<void()> fn);
  std::shared_ptr<LoopPort> port();                            // open as long as there is a link
  EarlyReceives& early_receives() noexcept { return early_; }  // as it says itself

  // Links. The first one registers the worker with its loop, the last one ends that.
  Result<LinkSlot> add_link(RdmaLink& link, uint32_t qp_num);
  // Hands over what came before the link was there.
  void deliver_early(uint32_t qp_num);
  void remove_link(LinkSlot slot, uint32_t qp_num);
  void fail_links(std::error_code why);
  void on_qp_event(uint32_t qp_num, ibv_event_type type);
  // The CQ or the SRQ has failed: no completion will say that all on it is lost.
  void on_queue_lost();

  // What links share.
  BounceBuffers& bounces() noexcept { return bounces_; }
  WindowStock& windows() noexcept { return windows_; }
  IdleWatch& idle_watch() noexcept { return idle_watch_; }
  LastWqe& last_wqe() noexcept { return last_wqe_; }
  // For building chains of work requests; used within one call.
  PostChain& chain() noexcept { return *chain_; }
  RdmaCounters& counters() noexcept { return counters_; }
  // Asks for more receive buffers to lend.
  void want_receives();

  // Grows with every batch of completions.
  uint64_t batch() const noexcept { return batch_; }
  // Takes all completions that are there now.
  void drain();
  bool poll() override;
  bool try_arm() override;
  void disarm() override {}

 private:
  Worker(EventCenter& center, const StackResources& stack,
         std::unique_ptr<WorkerResources> resources);
  std::error_code start();
  void stop();
  void handle(const ibv_wc& wc);
  void handle_receive(const ibv_wc& wc, uint32_t buffer);
  void repost_unexpected();
  void count_error(ibv_wc_status status);
  void on_channel_ready();
  void look_for_idle_links();
  std::vector<Window> make_windows();
  void ask_for_windows();

  EventCenter& center_;
  const StackResources stack_;
  std::unique_ptr<WorkerResources> resources_;
  const PayloadKeys payload_keys_;
  RdmaCounters counters_;
  const std::unique_ptr<PostChain> chain_;

  Mutex mutex_;
  std::shared_ptr<LoopPort> port_ GUARDED_BY(mutex_);  // null unless there is a link

  LinkTable links_;
  EarlyReceives early_;
  BounceBuffers bounces_;
  WindowStock windows_;
  IdleWatch idle_watch_;
  LastWqe last_wqe_;
  bool is_growing_receives_ = false;  // from want_receives() until the service thread has answered

  // The CQ.
  uint64_t batch_ = 0;
  bool is_armed_ = false;                       // an event was asked for and has not come
  EventCenter::Clock::time_point last_work_{};  // kept only if there is polling
  FdWatch channel_watch_;                       // these two: only while there is a link
  PollerRegistration registration_;
};

}  // namespace lunar::msgr::rdma
