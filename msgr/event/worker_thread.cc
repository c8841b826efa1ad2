// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/event/worker_thread.h"

#include <utility>

#include "common/signals.h"

namespace lunar::msgr {

Result<std::unique_ptr<WorkerThread>> WorkerThread::start(EventCenter::Options options) {
  auto center = EventCenter::create(std::move(options));
  if (!center) return failure(center.error());
  return std::unique_ptr<WorkerThread>(new WorkerThread(std::move(*center)));
}

WorkerThread::WorkerThread(std::unique_ptr<EventCenter> center) : center_(std::move(center)) {
  const BlockAllSignals blocked;
  thread_ = std::thread([this] { center_->run(); });
}

WorkerThread::~WorkerThread() { stop(); }

void WorkerThread::stop() {
  if (!thread_.joinable()) return;
  center_->stop();
  thread_.join();
  center_->adopt_thread();
}

}  // namespace lunar::msgr
