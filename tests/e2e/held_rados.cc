// SPDX-License-Identifier: LGPL-2.1-or-later
//
// By LD_PRELOAD, between lunar-osd and librados. With LUNAR_TEST_HOLD, a file: while somebody else
// has flock(2)ed it, changes of objects are kept here, each one counted by a byte in the file; when
// the lock is gone they are given to librados, in order. With LUNAR_TEST_NO_BLOCKLIST: nobody is
// put on Ceph's blocklist, whatever is answered. Thread-safe.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <rados/librados.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#define EXPORTED __attribute__((visibility("default")))

namespace {

using librados::AioCompletion;
using librados::IoCtx;
using librados::ObjectWriteOperation;

void give_up(const char* what) {
  std::perror(what);
  std::abort();
}

// librados' own, behind ours.
int submit(IoCtx& io, const std::string& object, AioCompletion* completion,
           ObjectWriteOperation& op, int flags) {
  using Operate = int (*)(IoCtx*, const std::string&, AioCompletion*, ObjectWriteOperation*, int);
  static const auto operate = reinterpret_cast<Operate>(
      dlsym(RTLD_NEXT,
            "_ZN8librados7v14_2_05IoCtx11aio_operateERKNSt7__cxx1112basic_stringIcSt11char_traitsIc"
            "ESaIcEEEPNS0_13AioCompletionEPNS0_20ObjectWriteOperationEi"));
  if (operate == nullptr) give_up("held_rados: librados has another aio_operate()");
  return operate(&io, object, completion, &op, flags);
}

// The changes that are kept. One for the process, until it ends or becomes another one.
class HeldChanges {
 public:
  explicit HeldChanges(const char* path) : file_(open(path, O_RDWR | O_APPEND | O_CLOEXEC)) {
    if (file_ < 0) give_up(path);
  }

  // False if nothing is to be kept now.
  bool take(const IoCtx& io, const std::string& object, AioCompletion* completion,
            ObjectWriteOperation& op, int flags) {
    const std::lock_guard lock(mutex_);
    if (changes_.empty() && flock(file_, LOCK_SH | LOCK_NB) == 0) {
      flock(file_, LOCK_UN);
      return false;
    }
    if (changes_.empty()) std::thread([this] { release_when_unlocked(); }).detach();
    changes_.push_back({io, object, completion, std::move(op), flags});
    if (write(file_, "h", 1) != 1) give_up("held_rados: write");
    return true;
  }

 private:
  struct Change {
    IoCtx io;
    std::string object;
    AioCompletion* completion;
    ObjectWriteOperation op;
    int flags;
  };

  void release_when_unlocked() {
    if (flock(file_, LOCK_SH) != 0) give_up("held_rados: flock");
    const std::lock_guard lock(mutex_);
    flock(file_, LOCK_UN);
    for (Change& each : changes_)
      if (submit(each.io, each.object, each.completion, each.op, each.flags) != 0)
        give_up("held_rados: aio_operate");
    changes_.clear();
  }

  const int file_;
  std::mutex mutex_;
  std::vector<Change> changes_;
};

HeldChanges* held_changes() {
  static const char* const path = std::getenv("LUNAR_TEST_HOLD");
  static HeldChanges* const held = path == nullptr ? nullptr : new HeldChanges(path);
  return held;
}

}  // namespace

EXPORTED int IoCtx::aio_operate(const std::string& object, AioCompletion* completion,
                                ObjectWriteOperation* op, int flags) {
  HeldChanges* const held = held_changes();
  if (held != nullptr && held->take(*this, object, completion, *op, flags)) return 0;
  return submit(*this, object, completion, *op, flags);
}

EXPORTED int librados::Rados::blocklist_add(const std::string& address, uint32_t seconds) {
  if (std::getenv("LUNAR_TEST_NO_BLOCKLIST") != nullptr) return 0;
  using Add = int (*)(Rados*, const std::string&, uint32_t);
  static const auto add = reinterpret_cast<Add>(
      dlsym(RTLD_NEXT,
            "_ZN8librados7v14_2_05Rados13blocklist_addERKNSt7__cxx1112basic_stringIcSt11char_"
            "traitsIcESaIcEEEj"));
  if (add == nullptr) give_up("held_rados: librados has another blocklist_add()");
  return add(this, address, seconds);
}
