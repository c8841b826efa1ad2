// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/file_opener.h"

#include <cerrno>
#include <utility>

namespace lunar::osd {

void FileOpener::open(const ObjectId& id, bool may_create, Then then) {
  if (FileRef file = files_.find(id)) return then(std::move(file));
  if (has_room()) {
    auto fd = tree_.open_cached(id);
    if (fd) return then(files_.insert(id, std::move(*fd)));
    if (fd.error() == system_error(ENOENT) && !may_create) return then(failure(fd.error()));
  }
  waiting_.push_back(std::make_unique<WaitingOpen>(WaitingOpen{id, may_create, std::move(then)}));
  start_waiting();
}

FileRef FileOpener::forget(const ObjectId& id) {
  FileRef file = files_.find(id);
  if (!file) return nullptr;
  flusher_.forget(file);
  files_.forget(id);
  return file;
}

void FileOpener::start_waiting() {
  while (!waiting_.empty()) {
    if (!has_room()) {
      files_.evict();
      // Dirty files cannot be closed before they are synced, and files in use stay open. Where
      // nothing will make room, the limit gives way.
      if ((can_make_room() || in_progress_ > 0) && !has_room()) break;
    }
    ++in_progress_;
    auto wanted = std::move(waiting_.front());
    waiting_.pop_front();
    open_blocking(std::move(wanted));
  }
  const bool needs_room = !waiting_.empty() || files_.is_over_limit();
  if (needs_room && can_make_room() && !is_making_room_) make_room();
}

void FileOpener::make_room() {
  is_making_room_ = true;
  flusher_.flush_in_background([this] {
    is_making_room_ = false;
    files_.evict();
    start_waiting();
  });
}

void FileOpener::open_blocking(std::unique_ptr<WaitingOpen> wanted) {
  const WaitingOpen& open = *wanted;
  pool_.run([this, &open] { return tree_.open(open.id, open.may_create); },
            [this, wanted = std::move(wanted)](Result<StoreTree::Opened> opened) {
              --in_progress_;
              if (!opened) {
                wanted->then(failure(opened.error()));
                return start_waiting();
              }
              FileRef file = files_.insert(wanted->id, std::move(opened->fd));
              if (opened->is_new) {
                file->is_entry_dirty = true;
                flusher_.mark(file);
                flusher_.mark_folder(ObjectPath(wanted->id).folder);
              }
              wanted->then(std::move(file));
              start_waiting();
            });
}

}  // namespace lunar::osd
