// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/flusher.h"

#include <utility>

#include "osd/store/store_error.h"

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
  ++unrecorded_;
  sink_.on_write_back_error(error, {id}, [this, then = std::move(then)]() mutable {
    --unrecorded_;
    then();
    if (unrecorded_ == 0 && std::exchange(has_to_finish_, false)) finish_round();
  });
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
    engine_.sync(file->fd.get(), is_data_only, [this, file, is_data_only](int result) {
      if (result < 0 && !is_data_only) file->needs_fsync = true;
      on_file_synced(result < 0 ? system_error(-result) : std::error_code{}, file);
    });
  }
  if (round_->folders.empty()) return;
  pool_.run([this, folders = round_->folders] { return sync_folders(folders); },
            [this](FolderSyncs result) { on_folders_synced(std::move(result)); });
}

Flusher::FolderSyncs Flusher::sync_folders(const std::vector<std::string>& folders) const {
  FolderSyncs result;
  for (const std::string& folder : folders) {
    const StoreTree::FolderSync synced = tree_.sync_folder(folder);
    // One that is not there has nothing that could be lost.
    if (!synced.error() || synced.open == system_error(ENOENT)) continue;
    if (synced.open) result.last.open = synced.open;
    if (synced.sync) result.last.sync = synced.sync;
    result.behind.push_back(folder);
  }
  return result;
}

void Flusher::sync_file_system() {
  FileRef one = round_->files.empty() ? nullptr : round_->files.front();
  struct Synced {
    std::error_code file_system;
    std::error_code one;
  };
  pool_.run(
      [this, fd = one ? one->fd.get() : tree_.root()]() -> Synced {
        Syscalls& syscalls = tree_.syscalls();
        const int synced = syscalls.sync_file_system(tree_.root());
        if (synced < 0) return {system_error(-synced), {}};
        // xfs with a clean log does not empty the disk's cache in syncfs; a file's fsync does.
        return {{}, error_in(syscalls.sync_file(fd))};
      },
      [this, one](Synced synced) {
        if (synced.file_system) return find_failed(synced.file_system);
        for (const std::string& folder : round_->folders) folders_behind_.erase(folder);
        round_->syncs_left = 1;
        if (one) return on_file_synced(synced.one, one);
        round_->error = synced.one;
        on_synced();
      });
}

// The error of syncfs is that of any file of the file system. Each of ours still has its own, which
// its descriptor reports: it has been open since the write.
void Flusher::find_failed(std::error_code error) {
  round_->error = error;
  sync_each();
}

void Flusher::on_folders_synced(FolderSyncs result) {
  for (const std::string& folder : round_->folders) folders_behind_.erase(folder);
  for (std::string& folder : result.behind) {
    dirty_folders_.insert(folder);
    folders_behind_.insert(std::move(folder));
  }
  if (result.last.sync) round_->error = result.last.sync;
  round_->untried = result.last.open;
  on_synced();
}

void Flusher::on_file_synced(std::error_code error, const FileRef& file) {
  if (error) {
    round_->error = error;
    round_->failed.push_back(file->id);
  }
  on_synced();
}

void Flusher::on_synced() {
  if (--round_->syncs_left == 0) on_all_synced();
}

void Flusher::on_all_synced() {
  if (round_->error) {
    sink_.on_write_back_error(round_->error, std::move(round_->failed), [this] { finish_round(); });
    return;
  }
  if (!round_->untried) {
    for (const FileRef& file : round_->files) file->is_entry_dirty = false;
  }
  finish_round();
}

void Flusher::finish_round() {
  if (unrecorded_ > 0) {
    has_to_finish_ = true;
    return;
  }
  const std::unique_ptr<Round> round = std::move(round_);
  round->files.clear();  // no longer in use: they may be closed now
  const std::error_code lost = round->error ? round->error : unreported_;
  unreported_ = round->waiters.empty() ? lost : std::error_code{};
  const std::error_code error = lost ? lost : round->untried;
  if (!waiting_.empty()) start_round();
  for (StoreDone& done : round->waiters) done(error);
  for (auto& after : round->afters) after();
}

}  // namespace lunar::osd
