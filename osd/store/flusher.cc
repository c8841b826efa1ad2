// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/flusher.h"

namespace lunar::osd {

void Flusher::mark(const FileRef& file) {
  if (file->is_dirty) return;
  file->is_dirty = true;
  dirty_.insert(file);
}

void Flusher::forget(const FileRef& file) {
  file->is_dirty = false;
  dirty_.erase(file);
}

void Flusher::flush(StoreDone done) {
  waiting_.push_back(std::move(done));
  if (!round_) start_round();
}

void Flusher::flush_in_background(UniqueFunction<void()> after) {
  const bool must_start = !round_;
  if (must_start) round_ = std::make_unique<Round>();
  round_->afters.push_back(std::move(after));
  if (must_start) start_round();
}

void Flusher::on_failed_sync(std::error_code error, const ObjectId& id,
                             UniqueFunction<void()> then) {
  unreported_ = error;
  sink_.on_write_back_error(error, {id}, std::move(then));
}

void Flusher::start_round() {
  if (!round_) round_ = std::make_unique<Round>();
  round_->waiters = std::move(waiting_);
  waiting_.clear();
  for (const FileRef& file : dirty_) file->is_dirty = false;
  round_->files.assign(dirty_.begin(), dirty_.end());
  dirty_.clear();
  round_->folders.assign(dirty_folders_.begin(), dirty_folders_.end());
  dirty_folders_.clear();
  const std::size_t syncs = round_->files.size() + round_->folders.size();
  if (syncs == 0) {
    on_all_synced();
  } else if (syncs <= sync_files_limit_) {
    sync_each();
  } else {
    sync_file_system();
  }
}

void Flusher::sync_each() {
  round_->syncs_left = round_->files.size() + (round_->folders.empty() ? 0 : 1);
  // A copy: the last sync to end ends the round.
  const std::vector<FileRef> files = round_->files;
  for (const FileRef& file : files) {
    const bool is_data_only = !std::exchange(file->needs_fsync, false);
    engine_.sync(file->fd.get(), is_data_only, [this, file](int result) {
      on_synced(result < 0 ? system_error(-result) : std::error_code{}, file);
    });
  }
  if (round_->folders.empty()) return;
  pool_.run(
      [this, folders = round_->folders]() -> std::error_code {
        for (const std::string& folder : folders) {
          if (const auto error = tree_.sync_folder(folder)) return error;
        }
        return {};
      },
      [this](std::error_code error) { on_synced(error, nullptr); });
}

void Flusher::sync_file_system() {
  round_->syncs_left = 1;
  for (const FileRef& file : round_->files) file->needs_fsync = false;
  FileRef one = round_->files.empty() ? nullptr : round_->files.front();
  pool_.run(
      [this, fd = one ? one->fd.get() : tree_.root()]() -> std::error_code {
        Syscalls& syscalls = tree_.syscalls();
        int synced = syscalls.sync_file_system(tree_.root());
        // xfs with a clean log does not empty the disk's cache in syncfs; a file's fsync does.
        if (synced >= 0) synced = syscalls.sync_file(fd);
        return synced < 0 ? system_error(-synced) : std::error_code{};
      },
      [this, one](std::error_code error) { on_synced(error, nullptr); });
}

void Flusher::on_synced(std::error_code error, const FileRef& file) {
  if (error) {
    round_->error = error;
    if (file) {
      round_->failed.push_back(file->id);
    } else {
      round_->has_failed_for_any = true;
    }
  }
  if (--round_->syncs_left == 0) on_all_synced();
}

void Flusher::on_all_synced() {
  if (!round_->error) {
    for (const FileRef& file : round_->files) file->is_entry_dirty = false;
    finish_round();
    return;
  }
  if (round_->has_failed_for_any) round_->failed.clear();
  sink_.on_write_back_error(round_->error, std::move(round_->failed), [this] { finish_round(); });
}

void Flusher::finish_round() {
  const std::unique_ptr<Round> round = std::move(round_);
  round->files.clear();  // no longer in use: they may be closed now
  const std::error_code error = round->error ? round->error : unreported_;
  unreported_ = round->waiters.empty() ? error : std::error_code{};
  if (!waiting_.empty()) start_round();
  for (StoreDone& done : round->waiters) done(error);
  for (auto& after : round->afters) after();
}

}  // namespace lunar::osd
