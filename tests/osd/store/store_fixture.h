// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "msgr/event_center.h"
#include "osd/object_store.h"
#include "osd/store/file_store.h"
#include "osd/store/syscalls.h"

namespace lunar::osd::test {

inline const std::error_code kNone;  // no error

// A folder that is removed with all in it.
class TemporaryFolder {
 public:
  // On a real file system by default: tmpfs has no write-back, no RWF_NOWAIT, few xattrs.
  explicit TemporaryFolder(const std::string& parent = "");
  ~TemporaryFolder();
  const std::string& path() const noexcept { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Records the calls that change things, by name, and answers those that a test wants to fail.
// Thread-safe.
class FakeSyscalls : public Syscalls {
 public:
  // If not 0, the call is not made and returns this. Called on any thread, by several at a time.
  using Rule = std::function<int(const std::string& call)>;
  void set_rule(Rule rule);
  void fail(const std::string& call, int error);  // from now on
  void heal() { set_rule(nullptr); }
  // From now on every open fails; 0: none does. Opens are not recorded.
  void fail_open(int error) { open_error_ = error; }
  // From now on every read of what the page cache has fails, but for the next `good` of them; 0:
  // none does. Reads are not recorded.
  void fail_cached_reads(int error, int good = 0) {
    good_cached_reads_ = good;
    cached_read_error_ = error;
  }
  int cached_reads() const { return cached_reads_; }
  // From now on every seek fails; 0: none does. Seeks are not recorded.
  void fail_seek(int error) { seek_error_ = error; }
  // What the file system has free from now on, as it says.
  void set_free_bytes(uint64_t bytes) { free_bytes_ = bytes; }
  // From now on a read or write moves only about half of what it could.
  void set_short_transfers() { are_short_ = true; }
  std::vector<std::string> take_calls();
  std::size_t count(const std::string& call);

  int open(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) override;
  int reopen(int fd, int flags) override;
  ssize_t read(int fd, Bytes into, uint64_t offset, int flags) override;
  ssize_t write(int fd, ConstBytes from, uint64_t offset, int flags) override;
  int sync_file(int fd) override;
  int sync_data(int fd) override;
  int sync_file_system(int fd) override;
  int rename(int from_directory, const char* from, int to_directory, const char* to) override;
  int unlink(int directory, const char* name) override;
  int file_system_space(int fd, struct statvfs& space) override;
  int64_t seek(int fd, uint64_t offset, int whence) noexcept override;
  int allocate(int fd, int mode, uint64_t offset, uint64_t length) override;
  int truncate(int fd, uint64_t size) override;
  int set_up_ring(unsigned entries, io_uring* ring) override;
  int reserve_fixed_buffers(io_uring* ring, unsigned count) override;
  int set_fixed_buffer(io_uring* ring, unsigned index, Bytes memory) override;
  int ring_result(RingCall call, int result) noexcept override;

 private:
  int before(const std::string& call);
  std::atomic<bool> are_short_ = false;
  std::atomic<int> open_error_ = 0;
  std::atomic<int> cached_read_error_ = 0;
  std::atomic<int> good_cached_reads_ = 0;
  std::atomic<int> cached_reads_ = 0;
  std::atomic<int> seek_error_ = 0;
  std::atomic<uint64_t> free_bytes_ = UINT64_MAX;  // as the file system says by itself
  std::mutex mutex_;
  Rule rule_;
  std::vector<std::string> calls_;
};

std::vector<std::byte> pattern(std::size_t length, uint64_t seed);

// A center that this thread drives, and blocking forms of the calls of a store.
class StoreDriver {
 public:
  StoreDriver();
  msgr::EventCenter& center() { return *center_; }
  msgr::BufferPool& buffers() { return *buffers_; }

  // Turns the loop until the flag is set by what it runs.
  void run_until(const bool& flag);
  // Calls start(done) and waits for done(result), which must not run inside the call.
  template <typename R = std::error_code, typename Start>
  R wait(Start&& start) {
    std::optional<R> result;
    bool is_done = false;
    start([&](R got) {
      EXPECT_FALSE(is_done) << "done ran twice";
      result.emplace(std::move(got));
      is_done = true;
    });
    EXPECT_FALSE(is_done) << "done ran inside the call";
    run_until(is_done);
    return std::move(*result);
  }

  std::error_code read(ObjectStore& store, const ObjectId& id, uint64_t offset, Bytes into);
  std::vector<std::byte> read(ObjectStore& store, const ObjectId& id, uint64_t offset,
                              std::size_t length);
  std::error_code write(ObjectStore& store, const ObjectId& id, uint64_t offset, ConstBytes from,
                        bool fua = false);
  std::error_code zero(ObjectStore& store, const ObjectId& id, uint64_t offset, uint64_t length,
                       bool fua = false);
  std::error_code truncate(ObjectStore& store, const ObjectId& id, uint64_t size);
  std::error_code remove(ObjectStore& store, const ObjectId& id);
  std::error_code remove_durably(ObjectStore& store, const ObjectId& id);
  std::error_code replace(ObjectStore& store, const ObjectId& id, ConstBytes from);
  std::error_code set_xattr(ObjectStore& store, const ObjectId& id, const std::string& name,
                            ConstBytes value);
  std::error_code flush(ObjectStore& store);
  std::error_code put_record(ObjectStore& store, const std::string& key, std::string_view value);
  std::error_code acknowledge_loss(ObjectStore& store);
  void shutdown(ObjectStore& store);
  Result<ObjectStore::Stat> stat(ObjectStore& store, const ObjectId& id);
  Result<ExtentMap> map_extents(ObjectStore& store, const ObjectId& id, uint64_t offset,
                                uint64_t length);
  Result<std::string> get_xattr(ObjectStore& store, const ObjectId& id, const std::string& name);
  Result<std::vector<std::string>> list(ObjectStore& store, objecter::PoolId pool,
                                        const std::string& cursor, uint32_t limit);

 private:
  std::unique_ptr<msgr::BufferPool> buffers_;
  std::unique_ptr<msgr::EventCenter> center_;
};

}  // namespace lunar::osd::test
