// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/file_store.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "osd/store/file_store_impl.h"

namespace lunar::osd {

using objecter::OsdErrc;

namespace {

Syscalls& or_system(Syscalls* syscalls) {
  return syscalls != nullptr ? *syscalls : Syscalls::system();
}

// At twice the limit new opens wait for a flush, so half of what the process may have is ours.
std::size_t open_files_limit(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    wanted = std::min<std::size_t>(wanted, limit.rlim_cur / 4);
  }
  return std::max<std::size_t>(wanted, 1);
}

}  // namespace

std::error_code to_store_error(std::error_code system) {
  if (!system) return {};
  if (system.category() == objecter::osd_category()) return system;
  switch (system.value()) {
    case ENOENT:
      return OsdErrc::kNoSuchObject;
    case ENOSPC:
    case EDQUOT:
      return OsdErrc::kNoSpace;
    case EFBIG:
    case E2BIG:
      return OsdErrc::kTooLarge;
    case ENODATA:
      return OsdErrc::kNoSuchAttribute;
    default:
      break;
  }
  LUNAR_ERROR(kStore, "the file system failed: {}", system.message());
  return OsdErrc::kIoError;
}

Outcome<StoreIdentity> make_file_store(const std::string& path, const Uuid& fsid, OsdId osd,
                                       Syscalls* syscalls) {
  auto format = make_store(or_system(syscalls), path, fsid, osd);
  if (!format) return failure(format.error());
  return format->identity;
}

Outcome<std::unique_ptr<ObjectStore>> open_file_store(msgr::EventCenter& center,
                                                      msgr::BufferPool& buffers,
                                                      const FileStoreOptions& options,
                                                      Syscalls* injected) {
  Syscalls& syscalls = or_system(injected);
  auto root = open_store_root(options.path);
  if (!root) return failure(root.error());
  const StoreTree tree(syscalls, UniqueFd(::fcntl(root->get(), F_DUPFD_CLOEXEC, 0)));
  // The identity first: a folder that is no store gets no lock file from us.
  auto format = read_format(tree, options.path, {options.fsid, options.osd});
  if (!format) return failure(format.error());
  auto lock = lock_store(tree, options.path);
  if (!lock) return failure(lock.error());
  auto store = std::make_unique<FileStore>(
      center, buffers, syscalls,
      FileStore::Parts{options, std::move(*root), std::move(*lock), *format});
  if (auto started = store->start(); !started) return failure(started.error());
  return store;
}

FileStore::FileStore(msgr::EventCenter& center, msgr::BufferPool& buffers, Syscalls& syscalls,
                     Parts parts)
    : center_(center),
      buffers_(buffers),
      syscalls_(syscalls),
      options_(std::move(parts.options)),
      format_(parts.format),
      counters_(options_.perf != nullptr ? *options_.perf : unwatched_),
      lock_(std::move(parts.lock)),
      tree_(syscalls, std::move(parts.root)),
      reserve_(tree_, options_.reserve_bytes),
      attributes_(tree_, format_.attributes),
      pool_(center, options_.threads),
      records_(pool_, tree_, reserve_),
      loss_(pool_, tree_),
      files_(open_files_limit(options_.max_open_files)) {}

FileStore::~FileStore() {
  LUNAR_CHECK(in_flight_ == 0 && (!flusher_ || flusher_->is_idle()),
              "a store was destroyed with calls in progress");
}

Outcome<void> FileStore::start() {
  if (auto cleaned = clean_up(tree_, options_.path); !cleaned) return cleaned;
  if (auto loaded = records_.load(options_.path); !loaded) return loaded;
  if (auto compared = loss_.start(options_.path); !compared) return compared;
  if (const auto error = reserve_.open()) {
    return failure(file_error(options_.path + "/reserve", "cannot be opened", error));
  }
  if (options_.io != FileStoreOptions::Io::kThreads) {
    auto engine = make_uring_engine(center_, buffers_, syscalls_, counters_);
    if (engine) {
      io_ = std::move(*engine);
    } else if (options_.io == FileStoreOptions::Io::kUring) {
      return failure(engine.error(),
                     "io_uring cannot be set up: " + engine.error().message() +
                         "; allow it (kernel.io_uring_disabled, the container's seccomp filter)");
    } else {
      LUNAR_LOG(kStore, 0,
                "io_uring is refused here ({}): {} threads do its work, which costs latency; see "
                "kernel.io_uring_disabled and the container's seccomp filter",
                engine.error().message(), options_.threads);
    }
  }
  if (!io_) io_ = make_pool_engine(pool_, syscalls_);
  flusher_.emplace(pool_, *io_, tree_, loss_, options_.sync_files_limit);
  LUNAR_LOG(kStore, 1, "{}: store {} of osd.{} is open, with {}", options_.path,
            format_.identity.store.to_string(), format_.identity.osd, io_->name());
  return {};
}

void FileStore::with_file(const ObjectId& id, bool create, WithFile then) {
  if (FileRef file = files_.find(id)) return then(std::move(file));
  if (files_.size() + opens_in_progress_ < 2 * files_.limit()) {
    auto fd = tree_.open_cached(id);
    if (fd) return then(files_.insert(id, std::move(*fd)));
    if (fd.error() == system_error(ENOENT) && !create) return then(failure(fd.error()));
  }
  waiting_opens_.push_back(std::make_unique<Opening>(Opening{id, create, std::move(then)}));
  start_opens();
}

void FileStore::start_opens() {
  while (!waiting_opens_.empty()) {
    if (files_.size() + opens_in_progress_ >= 2 * files_.limit()) {
      files_.evict();
      // Dirty files cannot be closed before they are synced; files in use are let be.
      const bool room_will_come =
          flusher_->dirty_files() > 0 || !flusher_->is_idle() || opens_in_progress_ > 0;
      if (room_will_come && files_.size() + opens_in_progress_ >= 2 * files_.limit()) break;
    }
    ++opens_in_progress_;
    auto opening = std::move(waiting_opens_.front());
    waiting_opens_.pop_front();
    open_blocking(std::move(opening));
  }
  const bool wants_room = !waiting_opens_.empty() || files_.is_over_limit();
  const bool can_make_room = flusher_->dirty_files() > 0 || !flusher_->is_idle();
  if (!wants_room || !can_make_room || is_making_room_) return;
  is_making_room_ = true;
  flusher_->flush_in_background([this] {
    is_making_room_ = false;
    files_.evict();
    start_opens();
  });
}

void FileStore::open_blocking(std::unique_ptr<Opening> opening) {
  Opening& wanted = *opening;
  pool_.run([this, &wanted] { return tree_.open(wanted.id, wanted.create); },
            [this, opening = std::move(opening)](Result<StoreTree::Opened> opened) {
              --opens_in_progress_;
              if (!opened) {
                opening->then(failure(opened.error()));
                return start_opens();
              }
              FileRef file = files_.insert(opening->id, std::move(opened->fd));
              if (opened->is_new) {
                file->entry_is_dirty = true;
                flusher_->mark(file);
                flusher_->mark_folder(ObjectPath(opening->id).folder);
              }
              opening->then(std::move(file));
              start_opens();
            });
}

void FileStore::flush(StoreDone done) {
  if (!admit({}, done)) return;
  auto boxed = std::make_unique<StoreDone>(std::move(done));
  flusher_->flush([this, boxed = std::move(boxed)](std::error_code error) {
    if (reserve_.held() < options_.reserve_bytes) {
      ++in_flight_;
      pool_.run(
          [this] {
            reserve_.refill();
            return true;
          },
          [this](bool) { ended(); });
    }
    finish(std::move(*boxed), to_store_error(error));
  });
}

void FileStore::put_record(const std::string& key, std::vector<std::byte> value, StoreDone done) {
  const bool is_valid = is_valid_record_key(key) && value.size() <= Records::kMaxValueBytes;
  if (!admit(is_valid ? std::error_code{} : OsdErrc::kInvalid, done)) return;
  auto boxed = std::make_unique<StoreDone>(std::move(done));
  records_.put(key, std::move(value), [this, boxed = std::move(boxed)](std::error_code error) {
    finish(std::move(*boxed), to_store_error(error));
  });
}

Result<std::vector<std::byte>> FileStore::get_record(const std::string& key) const {
  const Records::Value* value = records_.find(key);
  if (value == nullptr) return failure(OsdErrc::kNoSuchObject);
  return *value;
}

void FileStore::acknowledge_loss(StoreDone done) {
  if (!admit({}, done)) return;
  auto boxed = std::make_unique<StoreDone>(std::move(done));
  loss_.acknowledge([this, boxed = std::move(boxed)](std::error_code error) {
    finish(std::move(*boxed), to_store_error(error));
  });
}

ObjectStore::Usage FileStore::usage() const {
  struct statvfs file_system {};
  if (::fstatvfs(tree_.root(), &file_system) != 0) return {};
  const uint64_t block = file_system.f_frsize;
  return {file_system.f_blocks * block, (file_system.f_blocks - file_system.f_bfree) * block,
          file_system.f_bavail * block};
}

void FileStore::ended() {
  LUNAR_CHECK(in_flight_ > 0, "a call of the store ended twice");
  if (--in_flight_ == 0 && is_draining_) start_shutdown();
}

void FileStore::shutdown(UniqueFunction<void()> done) {
  LUNAR_CHECK(!is_shutting_down_, "a store is shut down once");
  is_shutting_down_ = true;
  shutdown_done_ = std::move(done);
  is_draining_ = in_flight_ > 0;
  if (!is_draining_) start_shutdown();
}

void FileStore::start_shutdown() {
  is_draining_ = false;  // calls that are refused from now on come and go
  ++in_flight_;
  flusher_->flush([this](std::error_code error) {
    loss_.end(!error, [this](std::error_code) {
      center_.post([this] {
        --in_flight_;
        files_.clear();
        lock_.reset();
        auto done = std::move(shutdown_done_);
        done();
      });
    });
  });
}

}  // namespace lunar::osd
