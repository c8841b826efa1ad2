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

}  // namespace

Worker::Worker(EventCenter& center, const StackResources& stack,
               std::unique_ptr<WorkerResources> resources)
    : center_(center),
      stack_(stack),
      resources_(std::move(resources)),
      payload_keys_(resources_->device(), stack.staging, stack.front_end),
      counters_(*stack.perf, "rdma-worker." + resources_->device().name()),
      chain_(std::make_unique<PostChain>()),
      bounces_(resources_->bounces().bytes(), stack.options.segment_bytes,
               resources_->bounces().lkey(),
               [this](LinkSlot slot) {
                 if (RdmaLink* link = links_.find(slot)) link->on_bounce_free();
               }),
      windows_([this] { ask_for_windows(); }),
      idle_watch_(center, [this] { look_for_idle_links(); }) {}

Result<std::shared_ptr<Worker>> Worker::create(EventCenter& center, std::shared_ptr<Device> device,
                                               const StackResources& stack) {
  auto resources = WorkerResources::create(std::move(device), stack.options);
  if (!resources) return failure(resources.error());
  std::shared_ptr<Worker> worker(new Worker(center, stack, std::move(*resources)));
  if (stack.options.rkey_scope == RkeyScope::kWindow &&
      worker->device().features().memory_windows) {
    worker->windows_.begin(worker->make_windows());
  }
  return worker;
}

// Destroying queues blocks.
Worker::~Worker() {
  LUNAR_CHECK(links_.is_empty(), "a worker outlives its links");
  stack_.service.run([resources = std::move(resources_)] {});
}

// --- any thread ----------------------------------------------------------------------------------

std::shared_ptr<LoopPort> Worker::port() {
  const MutexLock lock(mutex_);
  return port_;
}

bool Worker::post_to_loop(UniqueFunction<void()> fn) {
  const auto port = this->port();
  return port != nullptr && port->post(std::move(fn));
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
  idle_watch_.stop();
  bounces_.forget_waiting();
  windows_.forget_asking();
  is_growing_receives_ = false;
  std::shared_ptr<LoopPort> port;
  {
    const MutexLock lock(mutex_);
    port = std::move(port_);
  }
  port->close();
}

Result<LinkSlot> Worker::add_link(RdmaLink& link, uint32_t qp_num) {
  center_.assert_in_loop();
  if (links_.is_empty()) {
    if (const auto error = start()) return failure(error);
  }
  return links_.add(link, qp_num);
}

void Worker::deliver_early(uint32_t qp_num) {
  for (const EarlyReceive& early : early_.take(qp_num)) {
    if (RdmaLink* link = links_.find_by_qp(qp_num)) {
      link->on_segment(early.buffer, early.length);
    } else if (has_srq()) {
      resources_->receives().repost(early.buffer);
    }
  }
}

void Worker::remove_link(LinkSlot slot, uint32_t qp_num) {
  center_.assert_in_loop();
  links_.remove(slot, qp_num);
  if (has_srq()) resources_->receives().flush();
  if (links_.is_empty()) stop();
}

void Worker::fail_links(std::error_code why) {
  const auto self = shared_from_this();
  links_.for_each([why](RdmaLink& link) { link.fail(why); });
}

void Worker::on_queue_lost() {
  counters_.add(Count::kAsyncEvents);
  fail_links(std::make_error_code(std::errc::io_error));
}

void Worker::on_qp_event(uint32_t qp_num, ibv_event_type type) {
  counters_.add(Count::kAsyncEvents);
  if (type == IBV_EVENT_QP_LAST_WQE_REACHED) last_wqe_.on_reached();
  if (RdmaLink* link = links_.find_by_qp(qp_num)) link->on_async_event(type);
}

// --- more of what runs out -----------------------------------------------------------------------

// Service thread.
std::vector<Window> Worker::make_windows() {
  std::vector<Window> made;
  for (ibv_mw* mw : resources_->allocate_windows(WindowStock::kAtOnce)) {
    made.push_back({mw, mw->rkey});
  }
  return made;
}

void Worker::ask_for_windows() {
  stack_.service.run([weak = weak_from_this()] {
    const auto worker = weak.lock();
    if (!worker) return;
    const auto made = std::make_shared<std::vector<Window>>(worker->make_windows());
    const bool was_posted = worker->post_to_loop([weak, made] {
      if (const auto again = weak.lock()) again->windows_.add(*made, again->center_.now());
    });
    if (was_posted) return;
    for (const Window& window : *made) worker->resources_->free_window(window.mw);
  });
}

void Worker::want_receives() {
  if (!resources_->can_grow() || std::exchange(is_growing_receives_, true)) return;
  stack_.service.run([weak = weak_from_this()] {
    const auto worker = weak.lock();
    if (!worker) return;
    worker->resources_->grow_receives();
    worker->post_to_loop([weak] {
      if (const auto again = weak.lock()) again->is_growing_receives_ = false;
    });
  });
}

void Worker::look_for_idle_links() {
  const auto self = shared_from_this();
  bool may_find_more = false;
  links_.for_each([&](RdmaLink& link) { may_find_more |= link.give_back_if_idle(); });
  if (may_find_more && !links_.is_empty()) idle_watch_.start();
}

// --- completions ---------------------------------------------------------------------------------

bool Worker::poll() {
  const auto self = shared_from_this();  // the last link may go
  bool did_any = false;
  for (int i = 0; i < kBatchesPerTurn; ++i) {
    ibv_wc completions[kBatch];
    const int count = ibv_poll_cq(resources_->cq(), kBatch, completions);
    if (count < 0) {
      fail_links(verbs_error(EIO));
      break;
    }
    if (count == 0) break;
    did_any = true;
    ++batch_;
    for (int k = 0; k < count; ++k) handle(completions[k]);
    if (count < kBatch) break;
  }
  repost_unexpected();
  if (has_srq()) {
    if (const auto error = resources_->receives().flush()) fail_links(error);
  }
  if (did_any && stack_.options.polling.count() > 0) last_work_ = EventCenter::Clock::now();
  return did_any;
}

void Worker::drain() {
  const auto self = shared_from_this();
  for (int i = 0; i < kDrainTurns && !links_.is_empty() && poll(); ++i) {
  }
}

bool Worker::try_arm() {
  if (stack_.options.polling.count() > 0 &&
      EventCenter::Clock::now() - last_work_ < stack_.options.polling) {
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
      if (RdmaLink* link = links_.find(id.link())) link->on_send_completion(id.detail(), wc.status);
      return;
    case WrKind::kBeacon:
      if (RdmaLink* link = links_.find(id.link())) link->on_beacon();
      return;
  }
  counters_.add(Count::kOtherErrors);  // not one of ours
}

void Worker::handle_receive(const ibv_wc& wc, uint32_t buffer) {
  ReceiveQueue& receives = resources_->receives();
  if (has_srq() && !receives.has(buffer)) return counters_.add(Count::kOtherErrors);
  if (wc.status != IBV_WC_SUCCESS) {
    if (has_srq()) receives.repost(buffer);
    if (RdmaLink* link = links_.find_by_qp(wc.qp_num)) link->on_receive_error(wc.status);
    return;
  }
  const uint32_t length = received_bytes(wc);  // an empty segment is the end of its link
  if (RdmaLink* link = links_.find_by_qp(wc.qp_num)) return link->on_segment(buffer, length);
  early_.hold({wc.qp_num, buffer, length});
}

// Segments for QPs that were destroyed before they carried a link.
void Worker::repost_unexpected() {
  for (const EarlyReceive& early : early_.take_unexpected()) {
    if (has_srq()) resources_->receives().repost(early.buffer);
  }
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
