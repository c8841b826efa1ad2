// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/loss_state.h"

#include "common/log.h"

namespace lunar::osd {

Outcome<void> LossState::start(const std::string& path) {
  auto instance = MountInstance::of(tree_.root());
  if (!instance) {
    return failure(file_error(path, "its mount cannot be identified", instance.error()));
  }
  const RuntimeRecord last = RuntimeRecord::read(tree_);
  record_.lost = is_loss(last, *instance);
  record_.instance = std::move(*instance);
  // Also makes durable what a server that was killed had written.
  const int synced = tree_.syscalls().sync_file_system(tree_.root());
  if (synced < 0) {
    record_.lost = true;
    LUNAR_ERROR(kStore, "{}: syncfs at start: {}", path, system_error(-synced).message());
  }
  if (record_.lost) {
    LUNAR_LOG(kStore, 0, "{}: writes that were not flushed before this start may be lost", path);
  }
  if (const auto error = record_.write(tree_)) {
    return failure(file_error(path, "cannot write the runtime record", error));
  }
  return {};
}

void LossState::on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                                    InlineFunction<void()> then) {
  LUNAR_ERROR(kStore, "write-back failed, unflushed writes may be lost ({}): {}",
              objects.empty() ? std::string("any object") : objects.front().name, error.message());
  record_.lost = true;
  struct Report {
    std::error_code error;
    std::vector<ObjectId> objects;
    InlineFunction<void()> then;
  };
  auto report = std::make_unique<Report>(Report{error, std::move(objects), std::move(then)});
  save([this, report = std::move(report)](std::error_code) {
    if (listener_) listener_(report->error, report->objects);
    report->then();
  });
}

void LossState::acknowledge(Done done) {
  record_.lost = false;
  save(std::move(done));
}

void LossState::end(bool clean, Done done) {
  record_.clean = clean;
  save(std::move(done));
}

void LossState::save(Done done) {
  waiting_.push_back(std::move(done));
  if (!is_saving_) save_next();
}

void LossState::save_next() {
  is_saving_ = true;
  auto waiters = std::make_unique<std::vector<Done>>(std::move(waiting_));
  waiting_.clear();
  pool_.run([this, record = record_] { return record.write(tree_); },
            [this, waiters = std::move(waiters)](std::error_code error) {
              is_saving_ = false;
              if (error) {
                LUNAR_ERROR(kStore, "the runtime record cannot be written: {}", error.message());
              }
              if (!waiting_.empty()) save_next();
              for (Done& done : *waiters) done(error);
            });
}

}  // namespace lunar::osd
