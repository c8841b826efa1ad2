// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "common/unique_function.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/io_engine.h"
#include "osd/store/object_files.h"
#include "osd/store/store_tree.h"
#include "osd/store_done.h"

namespace lunar::osd {

// Hears of write-back errors before anybody else.
class LossSink {
 public:
  virtual ~LossSink() = default;
  // `objects` are those that are known to have lost writes; empty: none is known, so any may have.
  // `then` runs on the loop when the loss is on record.
  virtual void on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                                   UniqueFunction<void()> then) = 0;
};

// Knows what is not durable yet, and makes it so. One round runs at a time; calls that arrive
// meanwhile share the next one. A failed sync is never repeated: the kernel has marked the pages
// clean, so a second one would succeed and prove nothing. A sync that could not be tried, for want
// of a descriptor, is no loss: what it was to cover stays dirty.
// Loop-bound. Shares ownership of dirty files; borrows the rest.
class Flusher {
 public:
  Flusher(BlockingPool& pool, IoEngine& engine, const StoreTree& tree, LossSink& sink,
          std::size_t sync_files_limit)
      : pool_(pool),
        engine_(engine),
        tree_(tree),
        sink_(sink),
        sync_files_limit_(sync_files_limit) {}

  // Called when a change begins and again when it ends, so that a round in between does not hide
  // it.
  void mark(const FileRef& file);
  void mark_folder(const std::string& folder) { dirty_folders_.insert(folder); }
  void forget(const FileRef& file);  // its object is gone

  // True if a sync of the object's folder failed or could not be tried since the last that
  // succeeded: names in it might not be durable, whatever the files say.
  bool is_behind(const ObjectId& id) const {
    return !folders_behind_.empty() && folders_behind_.contains(ObjectPath(id).folder);
  }

  // `done` gets the round's error, or one that no flush has reported yet; not before each loss that
  // came earlier is on record, and so known for which images it is.
  void flush(StoreDone done);
  // Nobody waits for the result, so the next flush reports an error. `after` runs when the round
  // that runs or starts now has ended.
  void flush_in_background(UniqueFunction<void()> after);
  // A sync that was made for one call (FUA, a replace) failed: its object may have lost more than
  // the bytes of that call. The next flush reports the error too. `then` runs when the loss is on
  // record.
  void on_failed_sync(std::error_code error, const ObjectId& id, UniqueFunction<void()> then);

  bool is_idle() const noexcept { return !round_; }
  std::size_t dirty_files() const noexcept { return dirty_.size(); }

 private:
  struct Round {
    std::vector<StoreDone> waiters;
    std::vector<UniqueFunction<void()>> afters;
    std::vector<FileRef> files;
    std::vector<std::string> folders;
    std::size_t syncs_left = 0;    // in progress
    std::error_code error;         // of a sync that failed
    std::error_code untried;       // why a folder could not be synced
    std::vector<ObjectId> failed;  // of the files whose sync failed
  };
  // How a run over the folders of a round ended.
  struct FolderSyncs {
    StoreTree::FolderSync last;       // one that did not succeed, if any
    std::vector<std::string> behind;  // those that are not synced
  };
  void start_round();
  void sync_each();
  void sync_file_system();
  void find_failed(std::error_code error);
  FolderSyncs sync_folders(const std::vector<std::string>& folders) const;  // blocks
  void on_folders_synced(FolderSyncs result);
  void on_file_synced(std::error_code error, const FileRef& file);
  void on_synced();
  void on_all_synced();
  void finish_round();

  BlockingPool& pool_;
  IoEngine& engine_;
  const StoreTree& tree_;
  LossSink& sink_;
  const std::size_t sync_files_limit_;  // a round of more files and folders is one syncfs
  std::set<FileRef> dirty_;             // exactly those with is_dirty
  std::set<std::string> dirty_folders_;
  std::set<std::string> folders_behind_;  // is_behind(); each is dirty or in a round
  std::vector<StoreDone> waiting_;        // for the next round; empty unless one runs
  std::unique_ptr<Round> round_;          // null unless one runs
  std::error_code unreported_;            // an error that no flush has reported
  std::size_t unrecorded_ = 0;            // losses of on_failed_sync() that are not on record yet
  bool has_to_finish_ = false;            // the round, once they are
};

}  // namespace lunar::osd
