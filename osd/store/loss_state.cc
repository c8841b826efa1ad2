// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/loss_state.h"

#include <cerrno>
#include <utility>

#include "common/log.h"
#include "osd/store/store_error.h"

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
  if (const auto error = write(record_)) {
    return failure(file_error(path, "cannot write the runtime record", error));
  }
  return {};
}

void LossState::on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                                    UniqueFunction<void()> then) {
  LUNAR_ERROR(kStore, "write-back failed, unflushed writes may be lost ({}): {}",
              objects.empty() ? std::string("any object") : objects.front().name, error.message());
  record_.is_lost = true;
  ++unheard_;
  save(
      [this, error, objects = std::move(objects), then = std::move(then)](std::error_code) mutable {
        --unheard_;
        if (listener_) listener_(error, objects);
        then();
      });
}

void LossState::acknowledge(StoreDone done) {
  if (unheard_ == 0) record_.is_lost = false;
  save(std::move(done));
}

std::error_code LossState::write(const RuntimeRecord& record) const {
  std::error_code error = reserve_.use_for([&] { return record.write(tree_); });
  if (!error || !record.is_lost) return error;
  // Without a record everything counts as lost, which takes neither space nor a descriptor.
  Syscalls& syscalls = tree_.syscalls();
  const int removed = syscalls.unlink(tree_.root(), kRuntimeFile);
  if (removed < 0 && removed != -ENOENT) return error;
  return syscalls.sync_file(tree_.root()) < 0 ? error : std::error_code{};
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
  pool_.run([this, record = record_] { return write(record); },
            [this, waiters = std::exchange(waiting_, {})](std::error_code error) mutable {
              is_saving_ = false;
              is_unsaved_ = static_cast<bool>(error);
              if (error) {
                LUNAR_ERROR(kStore, "the runtime record cannot be written: {}", error.message());
              }
              if (!waiting_.empty()) save_next();
              for (StoreDone& done : waiters) done(error);
            });
}

}  // namespace lunar::osd
