// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/mutex.h"
#include "msgr/rdma/counters.h"
#include "msgr/rdma/link/endpoint.h"
#include "msgr/rdma/link/worker_resources.h"
#include "msgr/rdma/queue/post_chain.h"
#include "msgr/rdma/queue/window.h"
#include "msgr/rdma/queue/wr_id.h"

namespace lunar::msgr::rdma {

class RdmaLink;

// What one loop uses of one device: a CQ with its completion channel, an SRQ, receive and bounce
// buffers, windows. Takes completions off the CQ and gives them to the links they belong to.
// Loop-bound but where it says otherwise; may be let go of on any thread, since it is registered
// with the loop only while it has links. Shared by its links and endpoints.
class Worker final : public Poller, public std::enable_shared_from_this<Worker> {
 public:
  // Blocks; service thread. The center is only kept.
  static Result<std::shared_ptr<Worker>> create(EventCenter& center, std::shared_ptr<Device> device,
                                                const StackParts& parts);
  ~Worker() override;

  // Any thread.
  EventCenter& center() const noexcept { return center_; }
  const StackParts& parts() const noexcept { return parts_; }
  Device& device() const noexcept { return resources_->device(); }
  WorkerResources& resources() noexcept { return *resources_; }
  CreditPool& pool() noexcept { return resources_->pool(); }
  bool has_srq() const noexcept { return resources_->srq() != nullptr; }
  // Runs fn on the loop. False, and fn is destroyed, if the worker has no link.
  bool post_to_loop(InlineFunction<void()> fn);
  // A QP with this number may receive before it carries a link; until forget().
  void expect(uint32_t qp_num);
  void forget(uint32_t qp_num);

  // Links. The first one registers the worker with its loop, the last one ends that.
  Result<LinkSlot> add_link(RdmaLink& link, uint32_t qp_num);
  // Hands over what came before the link was there.
  void deliver_early(uint32_t qp_num);
  void remove_link(LinkSlot slot, uint32_t qp_num);
  std::shared_ptr<LoopPort> port();  // open as long as there is a link
  void fail_links(std::error_code why);
  void on_qp_event(uint32_t qp_num, ibv_event_type type);
  // The CQ or the SRQ has failed: no completion will say that all on it is lost.
  void on_queue_lost();

  // Bounce buffers.
  std::optional<uint32_t> take_bounce() noexcept;
  void put_bounce(uint32_t index);
  void wait_for_bounce(LinkSlot slot) { bounce_waiters_.push_back(slot); }
  Bytes bounce(uint32_t index) const noexcept { return resources_->bounces().buffer(index); }
  uint32_t bounce_lkey() const noexcept { return resources_->bounces().lkey(); }

  // Windows; none if there is none just now.
  Window take_window();
  void put_window(const Window& window) { windows_.push_back(window); }

  // Asks for more receive buffers to lend.
  void want_receives();
  // Some link holds credits that it may not need.
  void watch_idle_links();
  // For building chains of work requests; used within one call.
  PostChain& chain() noexcept { return *chain_; }
  RdmaCounters& counters() noexcept { return counters_; }
  // Grows with every batch of completions.
  uint64_t batch() const noexcept { return batch_; }
  // Takes all completions that are there now.
  void drain();
  // Whether this device tells when a QP has taken its last buffer from the SRQ; unknown at first.
  bool awaits_last_wqe() const noexcept { return last_wqe_seen_ || last_wqe_missed_ < 3; }
  bool knows_last_wqe() const noexcept { return last_wqe_seen_; }
  void last_wqe_missed() noexcept { ++last_wqe_missed_; }

  bool poll() override;
  bool try_arm() override;
  void disarm() override {}

 private:
  struct Entry {
    RdmaLink* link = nullptr;
    uint32_t generation = 0;
  };
  struct Early {
    uint32_t qp_num;
    uint32_t buffer;
    uint32_t length;
  };
  Worker(EventCenter& center, const StackParts& parts, std::unique_ptr<WorkerResources> resources);
  std::error_code start();
  void stop();
  RdmaLink* find(LinkSlot slot) const noexcept;
  RdmaLink* find(uint32_t qp_num) const noexcept;
  void handle(const ibv_wc& wc);
  void handle_receive(const ibv_wc& wc, uint32_t buffer);
  void sweep_early();
  void count_error(ibv_wc_status status);
  void on_channel_ready();
  void look_for_idle_links();
  std::vector<Window> make_windows();
  void want_windows();

  EventCenter& center_;
  const StackParts parts_;
  std::unique_ptr<WorkerResources> resources_;
  RdmaCounters counters_;
  const std::unique_ptr<PostChain> chain_;

  Mutex mutex_;
  std::shared_ptr<LoopPort> port_ GUARDED_BY(mutex_);
  std::unordered_set<uint32_t> expected_ GUARDED_BY(mutex_);

  std::vector<Entry> links_;
  std::vector<uint32_t> free_slots_;
  std::unordered_map<uint32_t, LinkSlot> by_qp_;
  std::size_t num_links_ = 0;
  std::vector<Early> early_;
  std::vector<uint32_t> free_bounces_;
  std::vector<LinkSlot> bounce_waiters_;
  std::vector<Window> windows_;
  bool windows_wanted_ = false;
  Growth window_growth_;
  bool receives_wanted_ = false;
  TimerId idle_timer_ = TimerId::kNone;
  uint64_t batch_ = 0;
  bool is_armed_ = false;
  bool last_wqe_seen_ = false;
  int last_wqe_missed_ = 0;
  EventCenter::Clock::time_point last_work_{};
  FdWatch channel_watch_;
  PollerRegistration registration_;
};

}  // namespace lunar::msgr::rdma
