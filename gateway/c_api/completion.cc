// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/c_api/completion.h"

#include <utility>

#include "gateway/c_api/handles.h"
#include "gateway/c_api/last_error.h"
#include "gateway/errno_of.h"
#include "gateway/io/io_run.h"

using lunar::c_api::report;

int lunar_completion::start(lunar_image& image, const lunar::gateway::IoWork& work,
                            const lunar::gateway::IoOptions& options) {
  bool was_started = false;
  {
    const lunar::MutexLock lock(mutex_);
    was_started = std::exchange(is_started_, true);
  }
  if (was_started) {
    return report(std::errc::invalid_argument, "a completion serves one IO: create another");
  }
  work_ = work;
  options_ = options;
  image.cluster->center->post([this, &image] {
    lunar::gateway::IoRun::start(
        image.image, work_, options_,
        [this](const lunar::gateway::IoResult& result) { finish(result); });
  });
  return 0;
}

void lunar_completion::finish(const lunar::gateway::IoResult& io) {
  error_ = io.error;
  mismatch_ = io.value;
  if (callback_ != nullptr) callback_(this, arg_);
  bool is_ours = false;  // to free
  {
    const lunar::MutexLock lock(mutex_);
    is_complete_ = true;
    changed_.notify_all();
    is_ours = is_released_;
  }
  if (is_ours) delete this;
}

int lunar_completion::result() const noexcept {
  return error_ ? -lunar::gateway::errno_of(error_) : 0;
}

void lunar_completion::wait() {
  mutex_.lock();
  while (!is_complete_) changed_.wait(mutex_);
  mutex_.unlock();
}

bool lunar_completion::is_complete() const {
  const lunar::MutexLock lock(mutex_);
  return is_complete_;
}

void lunar_completion::release() {
  bool is_in_use = false;
  {
    const lunar::MutexLock lock(mutex_);
    is_released_ = true;
    is_in_use = is_started_ && !is_complete_;
  }
  if (!is_in_use) delete this;
}

int lunar_completion_create(void* arg, lunar_callback_t callback, lunar_completion_t* out) {
  if (out == nullptr) return report(std::errc::invalid_argument, "completion must not be NULL");
  *out = new lunar_completion(arg, callback);
  return 0;
}

int lunar_completion_wait(lunar_completion_t completion) {
  completion->wait();
  return 0;
}

int lunar_completion_is_complete(lunar_completion_t completion) {
  return completion->is_complete() ? 1 : 0;
}

int lunar_completion_result(lunar_completion_t completion) { return completion->result(); }

uint64_t lunar_completion_mismatch(lunar_completion_t completion) { return completion->mismatch(); }

void lunar_completion_release(lunar_completion_t completion) { completion->release(); }
