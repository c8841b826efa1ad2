// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <deque>
#include <memory>

#include "common/inline_function.h"
#include "common/result.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/flusher.h"
#include "osd/store/object_files.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// Opens the files of objects, and bounds how many are open. A dirty file must stay open until it is
// synced; so at twice the limit further calls wait for a flush, which this class starts.
// Loop-bound. Owns the open files; borrows pool, tree and flusher. REQUIRES: when it is destroyed
// no open is waiting or in progress.
class FileOpener {
 public:
  using Then = InlineFunction<void(Result<FileRef>)>;

  FileOpener(BlockingPool& pool, const StoreTree& tree, Flusher& flusher, std::size_t limit)
      : pool_(pool), tree_(tree), flusher_(flusher), files_(limit) {}

  // Runs then(file), inside this call if the kernel need not wait for the open, else later. With
  // `may_create` an absent object is created, and its name becomes dirty. Errors are the system's;
  // ENOENT: the object is absent. `id` is borrowed for the call only.
  void open(const ObjectId& id, bool may_create, Then then);

  // The object's file if it is open, else null.
  FileRef find(const ObjectId& id) { return files_.find(id); }

  // The object has been removed or replaced: its file is neither found nor flushed any more.
  // Returns it if it was open. Not to be called before that has succeeded: what the file holds
  // unsynced would be forgotten with it.
  FileRef forget(const ObjectId& id);

  // At the end of the store; what is dirty by then is not synced.
  void close_all() { files_.clear(); }

 private:
  struct WaitingOpen {
    ObjectId id;
    bool may_create;
    Then then;
  };
  bool has_room() const noexcept { return files_.size() + in_progress_ < 2 * files_.limit(); }
  bool can_make_room() const noexcept { return flusher_.dirty_files() > 0 || !flusher_.is_idle(); }
  void start_waiting();
  void make_room();
  void open_blocking(std::unique_ptr<WaitingOpen> wanted);

  BlockingPool& pool_;
  const StoreTree& tree_;
  Flusher& flusher_;
  ObjectFiles files_;
  std::deque<std::unique_ptr<WaitingOpen>> waiting_;  // oldest first; empty while there is room
  std::size_t in_progress_ = 0;                       // opens on the pool's threads
  bool is_making_room_ = false;  // a background flush will call start_waiting()
};

}  // namespace lunar::osd
