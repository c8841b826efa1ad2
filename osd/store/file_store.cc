// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/file_store.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "common/log.h"
#include "osd/store/file_names.h"
#include "osd/store/file_space.h"
#include "osd/store/file_transfer.h"
#include "osd/store/identity.h"
#include "osd/store/loss_state.h"
#include "osd/store/records.h"
#include "osd/store/store_error.h"

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

// A folder that is a store and locked by this process.
struct StoreFolder {
  UniqueFd root;
  UniqueFd lock;
  StoreFormat format;
};

// ObjectStore over files: makes the classes that do the work, forwards the calls to them, flushes
// and shuts down.
// Loop-bound.
class FileStore final : public ObjectStore {
 public:
  FileStore(msgr::EventCenter& center, msgr::BufferPool& buffers, Syscalls& syscalls,
            const FileStoreOptions& options, StoreFolder folder);
  ~FileStore() override;
  // Blocks. REQUIRES: called once, and no call is made before it succeeded.
  Outcome<void> start();

  const StoreIdentity& identity() const noexcept override { return format_.identity; }
  msgr::BufferPool& buffers() noexcept override { return buffers_; }
  Usage usage() const override;
  void shutdown(UniqueFunction<void()> done) override;

  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) override {
    transfer_->read(id, offset, into, std::move(done));
  }
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
             DataDone done) override {
    transfer_->write(id, offset, from, fua, std::move(done));
  }
  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua,
            DataDone done) override {
    space_->zero(id, offset, length, fua, std::move(done));
  }
  void truncate(const ObjectId& id, uint64_t size, StoreDone done) override {
    space_->truncate(id, size, std::move(done));
  }
  void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) override {
    space_->stat(id, std::move(done));
  }
  void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                   UniqueFunction<void(Result<ExtentMap>)> done) override {
    space_->map_extents(id, offset, length, std::move(done));
  }

  void remove(const ObjectId& id, StoreDone done) override { names_->remove(id, std::move(done)); }
  void remove_durably(const ObjectId& id, StoreDone done) override {
    names_->remove_durably(id, std::move(done));
  }
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override {
    names_->replace(id, from, std::move(done));
  }
  void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                 StoreDone done) override {
    names_->set_xattr(id, name, value, std::move(done));
  }
  void get_xattr(const ObjectId& id, const std::string& name,
                 UniqueFunction<void(Result<AttributeValue>)> done) override {
    names_->get_xattr(id, name, std::move(done));
  }
  void list(PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
            UniqueFunction<void(Result<Names>)> done) override {
    names_->list(pool, cursor, limit, std::move(contains), std::move(done));
  }

  void flush(StoreDone done) override;
  void set_on_loss(OnLoss on_loss) override { loss_.set_listener(std::move(on_loss)); }
  bool may_have_lost_writes() const noexcept override { return loss_.is_lost(); }
  void acknowledge_loss(StoreDone done) override;

  void put_record(const std::string& key, RecordValue value, StoreDone done) override;
  Result<RecordValue> get_record(const std::string& key) const override;
  std::vector<std::string> record_keys(const std::string& prefix) const override {
    return records_.keys(prefix);
  }

 private:
  Outcome<std::unique_ptr<IoEngine>> make_engine();
  // Wraps the done of an admitted call: takes the error of a system call.
  StoreDone finish_later(StoreDone done);
  void start_flush(StoreDone done);
  void refill_reserve();
  void flush_and_close();

  msgr::EventCenter& center_;
  msgr::BufferPool& buffers_;
  Syscalls& syscalls_;
  const FileStoreOptions options_;
  const StoreFormat format_;
  PerfRegistry unwatched_;  // where the options name none
  StoreCounters counters_;
  UniqueFd lock_;  // until the shutdown is over
  const StoreTree tree_;
  Reserve reserve_;
  DataSpace space_left_;
  const Attributes attributes_;
  StoreCalls calls_;
  BlockingPool pool_;
  BlockingPool walks_;
  Records records_;
  LossState loss_;
  // Made in this order by start(), and from then on never null.
  std::unique_ptr<IoEngine> engine_;
  std::optional<Flusher> flusher_;
  std::optional<FileOpener> files_;
  std::optional<FileTransfer> transfer_;
  std::optional<FileSpace> space_;
  std::optional<FileNames> names_;
  UniqueFunction<void()> shutdown_done_;  // empty but while it shuts down
};

FileStore::FileStore(msgr::EventCenter& center, msgr::BufferPool& buffers, Syscalls& syscalls,
                     const FileStoreOptions& options, StoreFolder folder)
    : center_(center),
      buffers_(buffers),
      syscalls_(syscalls),
      options_(options),
      format_(folder.format),
      counters_(options_.perf != nullptr ? *options_.perf : unwatched_),
      lock_(std::move(folder.lock)),
      tree_(syscalls, std::move(folder.root)),
      reserve_(tree_, options_.reserve_bytes),
      space_left_(tree_, reserve_),
      attributes_(tree_, format_.attributes),
      calls_(center),
      pool_(center, options_.threads, [&syscalls] { return syscalls.call_time(); }),
      walks_(center, std::min(options_.threads, 1u), [&syscalls] { return syscalls.call_time(); }),
      records_(pool_, tree_, reserve_),
      loss_(pool_, tree_, reserve_) {}

FileStore::~FileStore() {
  LUNAR_CHECK(!flusher_ || flusher_->is_idle(), "a store was destroyed while it flushed");
}

Outcome<void> FileStore::start() {
  if (auto cleaned = clean_up(tree_, options_.path); !cleaned) return cleaned;
  if (auto loaded = records_.load(options_.path); !loaded) return loaded;
  // Opened before anything is written: the disk may be full. Filled only then.
  if (const auto error = reserve_.open()) {
    return failure(file_error(options_.path + "/reserve", "cannot be opened", error));
  }
  if (auto compared = loss_.start(options_.path); !compared) return compared;
  reserve_.refill();
  if (!reserve_.is_full()) {
    LUNAR_LOG(kStore, 0,
              "{}: the disk is too full for the reserve, which has {} bytes: data is refused until "
              "space is freed",
              options_.path, reserve_.held());
  }
  auto engine = make_engine();
  if (!engine) return failure(engine.error());
  engine_ = std::move(*engine);
  flusher_.emplace(pool_, *engine_, tree_, loss_, options_.sync_files_limit);
  files_.emplace(pool_, tree_, *flusher_, open_files_limit(options_.max_open_files));
  const FileEnvironment environment{calls_, *files_, *flusher_, *engine_,    pool_,
                                    walks_, tree_,   reserve_,  attributes_, space_left_};
  transfer_.emplace(environment, DirectIo(syscalls_, options_.path, options_.direct_io_bytes),
                    options_.loop_write_bytes);
  space_.emplace(environment);
  names_.emplace(environment, options_.path);
  LUNAR_LOG(kStore, 1, "{}: store {} of osd.{} is open, with {}", options_.path,
            format_.identity.store.to_string(), format_.identity.osd, engine_->name());
  return {};
}

Outcome<std::unique_ptr<IoEngine>> FileStore::make_engine() {
  if (options_.io == FileStoreOptions::Io::kThreads) return make_pool_engine(pool_, syscalls_);
  auto engine = make_uring_engine(center_, buffers_, syscalls_, counters_);
  if (engine) return std::move(*engine);
  const std::string why = engine.error().message();
  if (options_.io == FileStoreOptions::Io::kUring) {
    return failure(engine.error(),
                   "io_uring cannot be set up: " + why +
                       "; allow it (kernel.io_uring_disabled, the container's seccomp filter)");
  }
  LUNAR_LOG(kStore, 0,
            "io_uring is refused here ({}): {} threads do its work, which costs latency; see "
            "kernel.io_uring_disabled and the container's seccomp filter",
            why, options_.threads);
  return make_pool_engine(pool_, syscalls_);
}

StoreDone FileStore::finish_later(StoreDone done) {
  return [this, done = std::move(done)](std::error_code error) mutable {
    calls_.finish(std::move(done), to_store_error(error));
  };
}

void FileStore::flush(StoreDone done) {
  if (!calls_.admit({}, done)) return;
  if (!loss_.is_unsaved()) return start_flush(std::move(done));
  loss_.save_again(
      [this, done = std::move(done)](std::error_code) mutable { start_flush(std::move(done)); });
}

void FileStore::start_flush(StoreDone done) {
  flusher_->flush([this, done = std::move(done)](std::error_code error) mutable {
    refill_reserve();
    calls_.finish(std::move(done), to_store_error(error));
  });
}

void FileStore::refill_reserve() {
  if (reserve_.is_full()) return;
  calls_.enter();
  pool_.run(
      [this] {
        reserve_.refill();
        return true;
      },
      [this](bool) { calls_.leave(); });
}

void FileStore::acknowledge_loss(StoreDone done) {
  if (calls_.admit({}, done)) loss_.acknowledge(finish_later(std::move(done)));
}

void FileStore::put_record(const std::string& key, RecordValue value, StoreDone done) {
  const bool is_valid = is_valid_record_key(key) && value.size() <= Records::kMaxValueBytes;
  const std::error_code refusal = is_valid ? std::error_code{} : OsdErrc::kInvalid;
  if (!calls_.admit(refusal, done)) return;
  records_.put(key, std::move(value), finish_later(std::move(done)));
}

Result<ServerRecords::RecordValue> FileStore::get_record(const std::string& key) const {
  const RecordValue* value = records_.find(key);
  if (value == nullptr) return failure(OsdErrc::kNoSuchObject);
  return *value;
}

ObjectStore::Usage FileStore::usage() const {
  struct statvfs file_system {};
  if (syscalls_.file_system_space(tree_.root(), file_system) < 0) return {};
  const uint64_t block = file_system.f_frsize;
  return {file_system.f_blocks * block, (file_system.f_blocks - file_system.f_bfree) * block,
          space_left_.available()};
}

void FileStore::shutdown(UniqueFunction<void()> done) {
  shutdown_done_ = std::move(done);
  calls_.close([this] { flush_and_close(); });
}

void FileStore::flush_and_close() {
  calls_.enter();
  flusher_->flush([this](std::error_code error) {
    loss_.record_shutdown(!error, [this](std::error_code) {
      center_.post([this] {
        calls_.leave();
        files_->close_all();
        lock_.reset();
        auto done = std::move(shutdown_done_);  // it may destroy this
        done();
      });
    });
  });
}

}  // namespace

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
      center, buffers, syscalls, options,
      StoreFolder{std::move(*root), std::move(*lock), std::move(*format)});
  if (auto started = store->start(); !started) return failure(started.error());
  return store;
}

}  // namespace lunar::osd
