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

void Flusher::flush(Done done) {
  waiting_.push_back(std::move(done));
  if (!round_) start_round();
}

void Flusher::flush_in_background(InlineFunction<void()> after) {
  const bool is_first = !round_;
  if (is_first) round_ = std::make_unique<Round>();
  if (after) round_->afters.push_back(std::move(after));
  if (is_first) start_round();
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
  const std::size_t parts = round_->files.size() + round_->folders.size();
  if (parts == 0) {
    end_round();
  } else if (parts <= sync_files_limit_) {
    sync_each();
  } else {
    sync_file_system();
  }
}

void Flusher::sync_each() {
  round_->left = round_->files.size() + (round_->folders.empty() ? 0 : 1);
  // A copy: the last part to end ends the round.
  const std::vector<FileRef> files = round_->files;
  for (const FileRef& file : files) {
    const bool data_only = !std::exchange(file->needs_fsync, false);
    io_.sync(file->fd.get(), data_only, [this, file](int result) {
      part_done(result < 0 ? system_error(-result) : std::error_code{}, file);
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
      [this](std::error_code error) { part_done(error, nullptr); });
}

void Flusher::sync_file_system() {
  round_->left = 1;
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
      [this, one](std::error_code error) { part_done(error, nullptr); });
}

void Flusher::part_done(std::error_code error, const FileRef& file) {
  if (error) {
    round_->error = error;
    if (file) {
      round_->failed.push_back(file->id);
    } else {
      round_->anything_failed = true;
    }
  }
  if (--round_->left == 0) end_round();
}

void Flusher::end_round() {
  if (!round_->error) {
    for (const FileRef& file : round_->files) file->entry_is_dirty = false;
    report();
    return;
  }
  if (round_->anything_failed) round_->failed.clear();
  sink_.on_write_back_error(round_->error, std::move(round_->failed), [this] { report(); });
}

void Flusher::report() {
  const std::unique_ptr<Round> round = std::move(round_);
  round->files.clear();  // no longer in use: they may be closed now
  std::error_code error = round->error ? round->error : unreported_;
  unreported_ = round->waiters.empty() ? error : std::error_code{};
  if (!waiting_.empty()) start_round();
  for (Done& done : round->waiters) done(error);
  for (auto& after : round->afters) after();
}

}  // namespace lunar::osd
