// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The CQ of a worker. poll() takes completions off it; before the loop sleeps, try_arm() asks for
// an event and polls once more, since what came between is told by no event (ibv_get_cq_event(3)).
// An event that was asked for stays asked for: the loop may wake for other reasons in between.
//
// A completion names its link by slot and generation; a received segment by the number of its QP,
// which is all that an SRQ tells. Segments for a QP that carries no link yet wait in early_. Links
// may be destroyed by what they call from here, so each completion looks its link up again.

#include "msgr/rdma/link/worker.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/check.h"
#include "msgr/rdma/link/rdma_link.h"

namespace lunar::msgr::rdma {
namespace {

constexpr int kBatch = 32;
constexpr int kBatchesPerTurn = 8;
constexpr int kDrainTurns = 64;
constexpr uint32_t kWindowsAtOnce = 64;
constexpr std::chrono::seconds kIdleAfter{1};

}  // namespace

Worker::Worker(EventCenter& center, const StackParts& parts,
               std::unique_ptr<WorkerResources> resources)
    : center_(center),
      parts_(parts),
      resources_(std::move(resources)),
      counters_(*parts.perf, "rdma-worker." + resources_->device().name()),
      chain_(std::make_unique<PostChain>()) {
  const uint32_t bounces = resources_->bounces().count();
  for (uint32_t i = bounces; i > 0; --i) free_bounces_.push_back(i - 1);
}

Result<std::shared_ptr<Worker>> Worker::create(EventCenter& center, std::shared_ptr<Device> device,
                                               const StackParts& parts) {
  auto resources = WorkerResources::create(std::move(device), parts.options);
  if (!resources) return failure(resources.error());
  std::shared_ptr<Worker> worker(new Worker(center, parts, std::move(*resources)));
  if (parts.options.rkey_scope == RkeyScope::kWindow &&
      worker->device().features().memory_windows) {
    worker->windows_ = worker->make_windows();
    worker->window_growth_.begin();
  }
  return worker;
}

// Destroying queues blocks.
Worker::~Worker() {
  LUNAR_CHECK(num_links_ == 0, "a worker outlives its links");
  parts_.service.run([resources = std::move(resources_)] {});
}

// --- any thread ----------------------------------------------------------------------------------

std::shared_ptr<LoopPort> Worker::port() {
  const MutexLock lock(mutex_);
  return port_;
}

bool Worker::post_to_loop(InlineFunction<void()> fn) {
  const auto port = this->port();
  return port != nullptr && port->post(std::move(fn));
}

void Worker::expect(uint32_t qp_num) {
  const MutexLock lock(mutex_);
  expected_.insert(qp_num);
}

void Worker::forget(uint32_t qp_num) {
  const MutexLock lock(mutex_);
  expected_.erase(qp_num);
}

// --- links ---------------------------------------------------------------------------------------

std::error_code Worker::start() {
  auto watch = center_.watch(resources_->channel()->fd, FdEvents::kRead,
                             [this](FdEvents) { on_channel_ready(); });
  if (!watch) return watch.error();
  channel_watch_ = std::move(*watch);
  registration_ = PollerRegistration(&center_, this);
  const MutexLock lock(mutex_);
  port_ = LoopPort::open(center_);
  return {};
}

void Worker::stop() {
  registration_ = {};
  channel_watch_ = {};
  center_.cancel(std::exchange(idle_timer_, TimerId::kNone));
  bounce_waiters_.clear();
  windows_wanted_ = receives_wanted_ = false;
  std::shared_ptr<LoopPort> port;
  {
    const MutexLock lock(mutex_);
    port = std::move(port_);
  }
  port->close();
}

Result<LinkSlot> Worker::add_link(RdmaLink& link, uint32_t qp_num) {
  center_.assert_in_loop();
  if (free_slots_.empty()) {
    if (links_.size() > LinkSlot::kMaxIndex) {
      return failure(std::make_error_code(std::errc::no_buffer_space));
    }
    free_slots_.push_back(static_cast<uint32_t>(links_.size()));
    links_.emplace_back();
  }
  if (num_links_ == 0) {
    if (const auto error = start()) return failure(error);
  }
  ++num_links_;
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Entry& entry = links_[index];
  entry.link = &link;
  entry.generation = (entry.generation + 1) % LinkSlot::kGenerations;
  const LinkSlot slot{index, entry.generation};
  by_qp_[qp_num] = slot;
  return slot;
}

void Worker::deliver_early(uint32_t qp_num) {
  std::vector<Early> mine;
  for (const Early& early : early_) {
    if (early.qp_num == qp_num) mine.push_back(early);
  }
  std::erase_if(early_, [qp_num](const Early& early) { return early.qp_num == qp_num; });
  for (const Early& early : mine) {
    if (RdmaLink* link = find(qp_num)) {
      link->on_segment(early.buffer, early.length);
    } else if (has_srq()) {
      resources_->receives().repost(early.buffer);
    }
  }
}

void Worker::remove_link(LinkSlot slot, uint32_t qp_num) {
  center_.assert_in_loop();
  links_[slot.index].link = nullptr;
  free_slots_.push_back(slot.index);
  by_qp_.erase(qp_num);
  if (has_srq()) resources_->receives().flush();
  if (--num_links_ == 0) stop();
}

RdmaLink* Worker::find(LinkSlot slot) const noexcept {
  if (slot.index >= links_.size() || links_[slot.index].generation != slot.generation) {
    return nullptr;
  }
  return links_[slot.index].link;
}

RdmaLink* Worker::find(uint32_t qp_num) const noexcept {
  const auto found = by_qp_.find(qp_num);
  return found == by_qp_.end() ? nullptr : find(found->second);
}

void Worker::fail_links(std::error_code why) {
  const auto self = shared_from_this();
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if (RdmaLink* link = links_[i].link) link->fail(why);
  }
}

void Worker::on_queue_lost() {
  counters_.add(Count::kAsyncEvents);
  fail_links(std::make_error_code(std::errc::io_error));
}

void Worker::on_qp_event(uint32_t qp_num, ibv_event_type type) {
  counters_.add(Count::kAsyncEvents);
  if (type == IBV_EVENT_QP_LAST_WQE_REACHED) last_wqe_seen_ = true;
  if (RdmaLink* link = find(qp_num)) link->on_async_event(type);
}

// --- buffers -------------------------------------------------------------------------------------

std::optional<uint32_t> Worker::take_bounce() noexcept {
  if (free_bounces_.empty()) return std::nullopt;
  const uint32_t index = free_bounces_.back();
  free_bounces_.pop_back();
  return index;
}

void Worker::put_bounce(uint32_t index) {
  free_bounces_.push_back(index);
  for (const LinkSlot slot : std::exchange(bounce_waiters_, {})) {
    if (RdmaLink* link = find(slot)) link->on_bounce_free();
  }
}

// Service thread.
std::vector<Window> Worker::make_windows() {
  std::vector<Window> made;
  for (ibv_mw* mw : resources_->allocate_windows(kWindowsAtOnce)) made.push_back({mw, mw->rkey});
  return made;
}

void Worker::want_windows() {
  if (!window_growth_.may_go_on(center_.now()) || std::exchange(windows_wanted_, true)) return;
  parts_.service.run([weak = weak_from_this()] {
    const auto worker = weak.lock();
    if (!worker) return;
    const auto made = std::make_shared<std::vector<Window>>(worker->make_windows());
    const bool posted = worker->post_to_loop([weak, made] {
      const auto again = weak.lock();
      if (!again) return;
      again->windows_.insert(again->windows_.end(), made->begin(), made->end());
      again->windows_wanted_ = false;
      if (made->empty()) again->window_growth_.failed(again->center_.now());
    });
    if (posted) return;
    for (const Window& window : *made) worker->resources_->free_window(window.mw);
  });
}

Window Worker::take_window() {
  if (windows_.size() < kWindowsAtOnce / 4) want_windows();
  if (windows_.empty()) return {};
  const Window window = windows_.back();
  windows_.pop_back();
  return window;
}

void Worker::want_receives() {
  if (!resources_->can_grow() || std::exchange(receives_wanted_, true)) return;
  parts_.service.run([weak = weak_from_this()] {
    const auto worker = weak.lock();
    if (!worker) return;
    worker->resources_->grow_receives();
    worker->post_to_loop([weak] {
      if (const auto again = weak.lock()) again->receives_wanted_ = false;
    });
  });
}

void Worker::watch_idle_links() {
  if (idle_timer_ != TimerId::kNone) return;
  idle_timer_ = center_.run_after(kIdleAfter, [this] { look_for_idle_links(); });
}

void Worker::look_for_idle_links() {
  idle_timer_ = TimerId::kNone;
  const auto self = shared_from_this();
  bool again = false;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if (RdmaLink* link = links_[i].link) again |= link->give_back_if_idle();
  }
  if (again && num_links_ > 0) watch_idle_links();
}

// --- completions ---------------------------------------------------------------------------------

bool Worker::poll() {
  const auto self = shared_from_this();  // the last link may go
  bool did = false;
  for (int i = 0; i < kBatchesPerTurn; ++i) {
    ibv_wc completions[kBatch];
    const int count = ibv_poll_cq(resources_->cq(), kBatch, completions);
    if (count < 0) {
      fail_links(verbs_error(EIO));
      break;
    }
    if (count == 0) break;
    did = true;
    ++batch_;
    for (int k = 0; k < count; ++k) handle(completions[k]);
    if (count < kBatch) break;
  }
  if (!early_.empty()) sweep_early();
  if (has_srq()) {
    if (const auto error = resources_->receives().flush()) fail_links(error);
  }
  if (did && parts_.options.polling.count() > 0) last_work_ = EventCenter::Clock::now();
  return did;
}

void Worker::drain() {
  const auto self = shared_from_this();
  for (int i = 0; i < kDrainTurns && num_links_ > 0 && poll(); ++i) {
  }
}

bool Worker::try_arm() {
  if (parts_.options.polling.count() > 0 &&
      EventCenter::Clock::now() - last_work_ < parts_.options.polling) {
    return false;
  }
  if (!is_armed_) {
    if (const int error = ibv_req_notify_cq(resources_->cq(), 0); error != 0) {
      fail_links(verbs_error(error));
      return true;
    }
    is_armed_ = true;
  }
  return !poll();
}

void Worker::on_channel_ready() {
  ibv_cq* cq = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(resources_->channel(), &cq, &context) == 0) {
    resources_->count_event();
    is_armed_ = false;
  }
}

void Worker::handle(const ibv_wc& wc) {
  const WrId id(wc.wr_id);
  if (wc.status != IBV_WC_SUCCESS) count_error(wc.status);
  switch (id.kind()) {
    case WrKind::kReceive:
      return handle_receive(wc, id.detail());
    case WrKind::kSend:
      if (RdmaLink* link = find(id.link())) link->on_send_completion(id.detail(), wc.status);
      return;
    case WrKind::kBeacon:
      if (RdmaLink* link = find(id.link())) link->on_beacon();
      return;
  }
  counters_.add(Count::kOtherErrors);  // not one of ours
}

void Worker::handle_receive(const ibv_wc& wc, uint32_t buffer) {
  ReceiveQueue& receives = resources_->receives();
  if (has_srq() && !receives.has(buffer)) return counters_.add(Count::kOtherErrors);
  if (wc.status != IBV_WC_SUCCESS) {
    if (has_srq()) receives.repost(buffer);
    if (RdmaLink* link = find(wc.qp_num)) link->on_receive_error(wc.status);
    return;
  }
  const uint32_t length = received_bytes(wc);  // an empty segment is the end of its link
  if (RdmaLink* link = find(wc.qp_num)) return link->on_segment(buffer, length);
  early_.push_back({wc.qp_num, buffer, length});
}

// Segments for QPs that were destroyed before they carried a link.
void Worker::sweep_early() {
  std::erase_if(early_, [this](const Early& early) {
    const MutexLock lock(mutex_);
    if (expected_.contains(early.qp_num)) return false;
    if (has_srq()) resources_->receives().repost(early.buffer);
    return true;
  });
}

void Worker::count_error(ibv_wc_status status) {
  switch (status) {
    case IBV_WC_WR_FLUSH_ERR:
      return counters_.add(Count::kFlushes);
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return counters_.add(Count::kRnrErrors);
    case IBV_WC_RETRY_EXC_ERR:
      return counters_.add(Count::kRetryErrors);
    default:
      return counters_.add(Count::kOtherErrors);
  }
}

}  // namespace lunar::msgr::rdma
