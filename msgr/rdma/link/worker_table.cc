// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/worker_table.h"

#include <map>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/perf_counters.h"
#include "msgr/rdma/link/queue_pair.h"
#include "msgr/rdma/link/worker.h"

namespace lunar::msgr::rdma {

struct WorkerTable::Impl {
  using Key = std::pair<EventCenter*, const Device*>;

  explicit Impl(StackResources given) : stack(given) {
    if (stack.perf == nullptr) stack.perf = &own_registry;
  }
  // Service thread. Requests for one worker come one after another.
  Result<std::shared_ptr<Worker>> find_or_make(EventCenter& center,
                                               const std::shared_ptr<Device>& device) {
    const Key key(&center, device.get());
    {
      const MutexLock lock(mutex);
      std::erase_if(workers, [](const auto& entry) { return entry.second.expired(); });
      const auto found = workers.find(key);
      if (found != workers.end()) {
        if (auto worker = found->second.lock()) return worker;
      }
    }
    if (device->is_gone()) return failure(std::make_error_code(std::errc::no_such_device));
    auto made = Worker::create(center, device, stack);
    if (!made) return made;
    const MutexLock lock(mutex);
    workers[key] = *made;
    return made;
  }
  std::vector<std::shared_ptr<Worker>> all_of(const Device& device) {
    std::vector<std::shared_ptr<Worker>> out;
    const MutexLock lock(mutex);
    for (const auto& [key, weak] : workers) {
      auto worker = key.second == &device ? weak.lock() : nullptr;
      if (worker) out.push_back(std::move(worker));
    }
    return out;
  }
  void fail_links(const Device& device, std::error_code why) {
    for (const auto& worker : all_of(device)) {
      worker->post_to_loop([weak = std::weak_ptr<Worker>(worker), why] {
        if (const auto alive = weak.lock()) alive->fail_links(why);
      });
    }
  }
  // Ends the links of the worker whose queue it is. The queues of a feature probe are no worker's.
  template <typename IsIts>
  void lose_queue(const Device& device, IsIts is_its) {
    for (const auto& worker : all_of(device)) {
      if (!is_its(worker->resources())) continue;
      worker->post_to_loop([weak = std::weak_ptr<Worker>(worker)] {
        if (const auto alive = weak.lock()) alive->on_queue_lost();
      });
    }
  }

  PerfRegistry own_registry;
  StackResources stack;
  Mutex mutex;
  std::map<Key, std::weak_ptr<Worker>> workers GUARDED_BY(mutex);
};

WorkerTable::WorkerTable(StackResources stack) : impl_(std::make_shared<Impl>(stack)) {}
WorkerTable::~WorkerTable() = default;

void WorkerTable::get(EventCenter& center, std::shared_ptr<LoopPort> port,
                      std::shared_ptr<Device> device, Done done) {
  impl_->stack.service.run([impl = impl_, center = &center, port = std::move(port),
                            device = std::move(device), done = std::move(done)]() mutable {
    auto worker = impl->find_or_make(*center, device);
    port->post([done = std::move(done), worker = std::move(worker)]() mutable {
      done(std::move(worker));
    });
  });
}

void WorkerTable::on_device_gone(const Device& device) {
  impl_->fail_links(device, std::make_error_code(std::errc::no_such_device));
}

void WorkerTable::on_async_event(const Device& device, const ibv_async_event& event) {
  switch (event.event_type) {
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_COMM_EST:
    case IBV_EVENT_SQ_DRAINED:
    case IBV_EVENT_PATH_MIG:
    case IBV_EVENT_PATH_MIG_ERR:
    case IBV_EVENT_QP_LAST_WQE_REACHED: {
      // QPs are destroyed on this thread too, and not before their events are acknowledged. Only
      // ours have a context: those of the feature probe have none.
      const auto* qp = static_cast<const QueuePair*>(event.element.qp->qp_context);
      if (qp == nullptr) return;
      qp->worker().post_to_loop([weak = std::weak_ptr<Worker>(qp->shared_worker()),
                                 number = qp->number(), type = event.event_type] {
        if (const auto worker = weak.lock()) worker->on_qp_event(number, type);
      });
      return;
    }
    case IBV_EVENT_CQ_ERR:
      return impl_->lose_queue(
          device, [&](WorkerResources& resources) { return resources.cq() == event.element.cq; });
    case IBV_EVENT_SRQ_ERR:
      return impl_->lose_queue(
          device, [&](WorkerResources& resources) { return resources.srq() == event.element.srq; });
    case IBV_EVENT_DEVICE_FATAL:
      return on_device_gone(device);
    default:
      return;
  }
}

}  // namespace lunar::msgr::rdma
