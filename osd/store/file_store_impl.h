// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <tuple>

#include "osd/store/attributes.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/file_store.h"
#include "osd/store/flusher.h"
#include "osd/store/identity.h"
#include "osd/store/io_engine.h"
#include "osd/store/loss_state.h"
#include "osd/store/object_files.h"
#include "osd/store/records.h"
#include "osd/store/reserve.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// What an error of the file system means to a client; the original goes to the log when it is not
// one of the expected.
std::error_code to_store_error(std::error_code system);

// ObjectStore over a StoreTree. The parts: file_store.cc opens, flushes and shuts down;
// file_data.cc moves bytes; file_names.cc makes, replaces, lists and removes.
// Loop-bound. Each call's state is one heap block that its steps hand on.
class FileStore final : public ObjectStore {
 public:
  struct Parts {
    FileStoreOptions options;
    UniqueFd root, lock;
    StoreFormat format;
  };
  FileStore(msgr::EventCenter& center, msgr::BufferPool& buffers, Syscalls& syscalls, Parts parts);
  ~FileStore() override;
  Outcome<void> start();  // blocking

  const StoreIdentity& identity() const noexcept override { return format_.identity; }
  msgr::BufferPool& buffers() noexcept override { return buffers_; }
  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) override;
  void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                   UniqueFunction<void(Result<ExtentMap>)> done) override;
  void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) override;
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
             DataDone done) override;
  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, DataDone done) override;
  void truncate(const ObjectId& id, uint64_t size, StoreDone done) override;
  void remove(const ObjectId& id, StoreDone done) override;
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override;
  void remove_durably(const ObjectId& id, StoreDone done) override;
  void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                 StoreDone done) override;
  void get_xattr(const ObjectId& id, const std::string& name,
                 UniqueFunction<void(Result<AttributeValue>)> done) override;
  void list(objecter::PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
            UniqueFunction<void(Result<Names>)> done) override;
  void flush(StoreDone done) override;
  void set_on_loss(OnLoss on_loss) override { loss_.set_listener(std::move(on_loss)); }
  void put_record(const std::string& key, std::vector<std::byte> value, StoreDone done) override;
  Result<std::vector<std::byte>> get_record(const std::string& key) const override;
  std::vector<std::string> record_keys(const std::string& prefix) const override {
    return records_.keys(prefix);
  }
  bool may_have_lost_writes() const noexcept override { return loss_.is_lost(); }
  void acknowledge_loss(StoreDone done) override;
  Usage usage() const override;
  void shutdown(UniqueFunction<void()> done) override;

 private:
  using WithFile = InlineFunction<void(Result<FileRef>)>;
  struct Transfer;  // a read or a write in progress
  using TransferRef = std::unique_ptr<Transfer>;

  // Counts a call in; false, with the answer under way, if it must not start.
  template <typename DoneT>
  bool admit(std::error_code refusal, DoneT& done);
  // Ends a call: done(results…) on a later turn of the loop.
  template <typename DoneT, typename... Results>
  void finish(DoneT done, Results... results);
  void ended();

  // The object's open file, now or later; ENOENT if it is absent and `create` is false.
  void with_file(const ObjectId& id, bool create, WithFile then);
  struct Opening {
    ObjectId id;
    bool create;
    WithFile then;
  };
  void start_opens();
  void open_blocking(std::unique_ptr<Opening> opening);

  // Where so many bytes go to or come from: past the page cache, if that is wanted and can be.
  IoEngine::Target target_of(ObjectFile& file, uint64_t offset, ConstBytes memory);
  bool is_for_direct(uint64_t offset, ConstBytes memory) const noexcept;
  // After an error of a direct call: whether it shall be made again, through the page cache.
  bool gives_up_direct(IoEngine::Target target, int result);
  void continue_read(TransferRef op);
  void read_in_engine(TransferRef op);
  void continue_write(TransferRef op);
  void write_in_engine(TransferRef op);
  void end_write(TransferRef op);
  void end_failed_write(TransferRef op, std::error_code error);
  // A sync that was made for one call failed: its object may have lost more than this call's bytes.
  void end_after_loss(std::error_code error, const ObjectId& id, DataDone done);
  // Runs change(fd) on a thread with the reserve at hand, syncs the file if asked to, and ends the
  // call.
  template <typename Change>
  void change_file(FileRef file, bool sync_after, Change change, DataDone done);
  void remove_object(const ObjectId& id, bool durably, StoreDone done);
  Result<std::vector<std::string>> scan(PoolId pool, const std::string& cursor, uint32_t limit,
                                        NameFilter& contains) const;
  void start_shutdown();

  msgr::EventCenter& center_;
  msgr::BufferPool& buffers_;
  Syscalls& syscalls_;
  const FileStoreOptions options_;
  const StoreFormat format_;
  PerfRegistry unwatched_;  // where the options name none
  StoreCounters counters_;
  UniqueFd lock_;
  const StoreTree tree_;
  Reserve reserve_;
  const Attributes attributes_;
  BlockingPool pool_;
  std::unique_ptr<IoEngine> io_;
  Records records_;
  LossState loss_;
  ObjectFiles files_;
  std::deque<std::unique_ptr<Opening>> waiting_opens_;  // too many files are open and dirty
  std::size_t opens_in_progress_ = 0;
  bool is_making_room_ = false;  // a background flush will call start_opens()
  std::optional<Flusher> flusher_;
  bool reads_cached_ = true;   // until the file system refuses RWF_NOWAIT
  bool can_be_direct_ = true;  // until the file system refuses O_DIRECT
  uint64_t in_flight_ = 0;     // calls admitted, not ended
  bool is_shutting_down_ = false;
  bool is_draining_ = false;  // shutdown() waits for in_flight_ to reach 0
  UniqueFunction<void()> shutdown_done_;
};

template <typename DoneT, typename... Results>
void FileStore::finish(DoneT done, Results... results) {
  struct Ending {
    FileStore* store;
    DoneT done;
    std::tuple<Results...> results;
  };
  auto ending = std::make_unique<Ending>(
      Ending{this, std::move(done), std::tuple<Results...>(std::move(results)...)});
  center_.post([ending = std::move(ending)] {
    ending->store->ended();
    std::apply([&](auto&... values) { ending->done(std::move(values)...); }, ending->results);
  });
}

template <typename DoneT>
bool FileStore::admit(std::error_code refusal, DoneT& done) {
  ++in_flight_;
  if (is_shutting_down_) refusal = objecter::OsdErrc::kShutdown;
  if (!refusal) return true;
  if constexpr (std::is_same_v<DoneT, StoreDone> || std::is_same_v<DoneT, DataDone>) {
    finish(std::move(done), refusal);
  } else {
    finish(std::move(done), failure(refusal));
  }
  return false;
}

}  // namespace lunar::osd
