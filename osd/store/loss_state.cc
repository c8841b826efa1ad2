// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/loss_state.h"

#include <utility>

#include "common/log.h"

namespace lunar::osd {

Outcome<void> LossState::start(const std::string& path) {
  auto instance = MountInstance::of(tree_);
  if (!instance) {
    return failure(file_error(path, "its mount cannot be identified", instance.error()));
  }
  const RuntimeRecord last = RuntimeRecord::read(tree_);
  record_.is_lost = is_loss(last, *instance);
  record_.instance = std::move(*instance);
  // Also makes durable what a server that was killed had written.
  const int synced = tree_.syscalls().sync_file_system(tree_.root());
  if (synced < 0) {
    record_.is_lost = true;
    LUNAR_ERROR(kStore, "{}: syncfs at start: {}", path, system_error(-synced).message());
  }
  if (record_.is_lost) {
    LUNAR_LOG(kStore, 0, "{}: writes that were not flushed before this start may be lost", path);
  }
  if (const auto error = record_.write(tree_)) {
    return failure(file_error(path, "cannot write the runtime record", error));
  }
  return {};
}

void LossState::on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                                    UniqueFunction<void()> then) {
  LUNAR_ERROR(kStore, "write-back failed, unflushed writes may be lost ({}): {}",
              objects.empty() ? std::string("any object") : objects.front().name, error.message());
  record_.is_lost = true;
  save(
      [this, error, objects = std::move(objects), then = std::move(then)](std::error_code) mutable {
        if (listener_) listener_(error, objects);
        then();
      });
}

void LossState::acknowledge(StoreDone done) {
  record_.is_lost = false;
  save(std::move(done));
}

void LossState::record_shutdown(bool is_clean, StoreDone done) {
  record_.is_clean = is_clean;
  save(std::move(done));
}

void LossState::save(StoreDone done) {
  waiting_.push_back(std::move(done));
  if (!is_saving_) save_next();
}

void LossState::save_next() {
  is_saving_ = true;
  pool_.run([this, record = record_] { return record.write(tree_); },
            [this, waiters = std::exchange(waiting_, {})](std::error_code error) mutable {
              is_saving_ = false;
              if (error) {
                LUNAR_ERROR(kStore, "the runtime record cannot be written: {}", error.message());
              }
              if (!waiting_.empty()) save_next();
              for (StoreDone& done : waiters) done(error);
            });
}

}  // namespace lunar::osd
