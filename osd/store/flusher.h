// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <set>
#include <string>
#include <vector>

#include "osd/store/blocking_pool.h"
#include "osd/store/io_engine.h"
#include "osd/store/object_files.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// Told of write-back errors before anybody else is.
class LossSink {
 public:
  virtual ~LossSink() = default;
  // `objects` empty: any. `then` runs on the loop when the loss is on record.
  virtual void on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                                   InlineFunction<void()> then) = 0;
};

// Knows what is not durable yet, and makes it so. One round runs at a time; calls that arrive
// meanwhile share the next one. A failed sync is never repeated: the kernel has marked the pages
// clean, a second try would succeed and prove nothing.
// Loop-bound. Shares ownership of dirty files.
class Flusher {
 public:
  using Done = InlineFunction<void(std::error_code)>;
  Flusher(BlockingPool& pool, IoEngine& io, const StoreTree& tree, LossSink& sink,
          std::size_t sync_files_limit)
      : pool_(pool), io_(io), tree_(tree), sink_(sink), sync_files_limit_(sync_files_limit) {}

  // At the start of a change and again at its end, so that a round in between does not hide it.
  void mark(const FileRef& file);
  void mark_folder(const std::string& folder) { dirty_folders_.insert(folder); }
  void forget(const FileRef& file);  // its object is gone

  // `done` gets the round's error, or one that no flush has reported yet.
  void flush(Done done);
  // Nobody waits for the result, so the next flush reports an error. `after` runs when the round
  // that runs or starts now has ended.
  void flush_in_background(InlineFunction<void()> after = nullptr);
  // An error of a sync made elsewhere (FUA): the next flush reports it.
  void remember_error(std::error_code error) { unreported_ = error; }

  bool is_idle() const noexcept { return !round_; }
  std::size_t dirty_files() const noexcept { return dirty_.size(); }

 private:
  struct Round {
    std::vector<Done> waiters;
    std::vector<InlineFunction<void()>> afters;
    std::vector<FileRef> files;
    std::vector<std::string> folders;
    std::size_t left = 0;  // syncs in progress
    std::error_code error;
    std::vector<ObjectId> failed;
    bool anything_failed = false;  // …that `failed` does not name
  };
  void start_round();
  void sync_each();
  void sync_file_system();
  void part_done(std::error_code error, const FileRef& file);
  void end_round();
  void report();

  BlockingPool& pool_;
  IoEngine& io_;
  const StoreTree& tree_;
  LossSink& sink_;
  const std::size_t sync_files_limit_;
  std::set<FileRef> dirty_;
  std::set<std::string> dirty_folders_;
  std::vector<Done> waiting_;
  std::unique_ptr<Round> round_;
  std::error_code unreported_;
};

}  // namespace lunar::osd
