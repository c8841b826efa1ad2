// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/osd/store/store_fixture.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "common/random.h"
#include "osd/store/io_engine.h"

namespace lunar::osd::test {

TemporaryFolder::TemporaryFolder(const std::string& parent) {
  const std::string base =
      parent.empty() ? std::filesystem::temp_directory_path().string() : parent;
  std::string name = base + "/lunar-store-XXXXXX";
  EXPECT_NE(::mkdtemp(name.data()), nullptr) << name;
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void FakeSyscalls::set_rule(Rule rule) {
  std::lock_guard lock(mutex_);
  rule_ = std::move(rule);
}

void FakeSyscalls::fail(const std::string& call, int error) {
  set_rule([call, error](const std::string& now) { return now == call ? -error : 0; });
}

std::vector<std::string> FakeSyscalls::take_calls() {
  std::lock_guard lock(mutex_);
  return std::exchange(calls_, {});
}

std::size_t FakeSyscalls::count(const std::string& call) {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count(calls_.begin(), calls_.end(), call));
}

int FakeSyscalls::before(const std::string& call) {
  Rule rule;
  {
    std::lock_guard lock(mutex_);
    calls_.push_back(call);
    rule = rule_;
  }
  return rule ? rule(call) : 0;
}

int FakeSyscalls::open(int directory, const char* path, uint64_t flags, mode_t mode,
                       uint64_t resolve) {
  const int failed = open_error_;
  return failed != 0 ? -failed : Syscalls::open(directory, path, flags, mode, resolve);
}
int FakeSyscalls::reopen(int fd, int flags) {
  const int failed = before("reopen");
  return failed != 0 ? failed : Syscalls::reopen(fd, flags);
}
ssize_t FakeSyscalls::read(int fd, Bytes into, uint64_t offset, int flags) {
  if ((flags & RWF_NOWAIT) != 0) {
    ++cached_reads_;
    if (cached_read_error_ != 0 && good_cached_reads_-- <= 0) return -cached_read_error_;
  }
  if (are_short_) into = into.first((into.size() + 1) / 2);
  return Syscalls::read(fd, into, offset, flags);
}
ssize_t FakeSyscalls::write(int fd, ConstBytes from, uint64_t offset, int flags) {
  if (are_short_) from = from.first((from.size() + 1) / 2);
  const int failed = before("write");
  return failed != 0 ? failed : Syscalls::write(fd, from, offset, flags);
}
int FakeSyscalls::sync_file(int fd) {
  const int failed = before("fsync");
  return failed != 0 ? failed : Syscalls::sync_file(fd);
}
int FakeSyscalls::sync_data(int fd) {
  const int failed = before("fdatasync");
  return failed != 0 ? failed : Syscalls::sync_data(fd);
}
int FakeSyscalls::sync_file_system(int fd) {
  const int failed = before("syncfs");
  return failed != 0 ? failed : Syscalls::sync_file_system(fd);
}
int FakeSyscalls::rename(int from_directory, const char* from, int to_directory, const char* to) {
  const int failed = before("rename");
  return failed != 0 ? failed : Syscalls::rename(from_directory, from, to_directory, to);
}
int FakeSyscalls::unlink(int directory, const char* name) {
  const int failed = before("unlink");
  return failed != 0 ? failed : Syscalls::unlink(directory, name);
}
int FakeSyscalls::file_system_space(int fd, struct statvfs& space) {
  const int result = Syscalls::file_system_space(fd, space);
  if (free_bytes_ != UINT64_MAX) space.f_bavail = free_bytes_ / space.f_frsize;
  return result;
}
int64_t FakeSyscalls::seek(int fd, uint64_t offset, int whence) noexcept {
  return seek_error_ != 0 ? -seek_error_ : Syscalls::seek(fd, offset, whence);
}
int FakeSyscalls::truncate(int fd, uint64_t size) {
  const int failed = before("ftruncate");
  return failed != 0 ? failed : Syscalls::truncate(fd, size);
}
int FakeSyscalls::allocate(int fd, int mode, uint64_t offset, uint64_t length) {
  const int failed = before("fallocate");
  return failed != 0 ? failed : Syscalls::allocate(fd, mode, offset, length);
}
int FakeSyscalls::set_up_ring(unsigned entries, io_uring* ring) {
  const int failed = before("io_uring_setup");
  return failed != 0 ? failed : Syscalls::set_up_ring(entries, ring);
}
int FakeSyscalls::reserve_fixed_buffers(io_uring* ring, unsigned count) {
  const int failed = before("reserve_fixed_buffers");
  return failed != 0 ? failed : Syscalls::reserve_fixed_buffers(ring, count);
}
int FakeSyscalls::set_fixed_buffer(io_uring* ring, unsigned index, Bytes memory) {
  const int failed = before("set_fixed_buffer");
  return failed != 0 ? failed : Syscalls::set_fixed_buffer(ring, index, memory);
}
int FakeSyscalls::ring_result(RingCall call, int result) noexcept {
  static constexpr const char* kNames[] = {"read", "write", "fdatasync"};
  const int failed = before(kNames[static_cast<int>(call)]);
  return failed != 0 ? failed : result;
}

std::vector<std::byte> pattern(std::size_t length, uint64_t seed) {
  RandomEngine engine = seeded_engine(seed + 1);
  std::vector<std::byte> bytes(length);
  for (std::byte& one : bytes) one = static_cast<std::byte>(engine());
  return bytes;
}

StoreDriver::StoreDriver()
    : buffers_(msgr::make_heap_buffer_pool(64 << 20, 1 << 20)),
      center_(std::move(*msgr::EventCenter::create({}))) {}

void StoreDriver::run_until(const bool& flag) {
  while (!flag) {
    pollfd ready{center_->fd(), POLLIN, 0};
    const int n = ::poll(&ready, 1, 60'000);
    ASSERT_TRUE(n > 0 || errno == EINTR) << "nothing happened for a minute";
    center_->process();
  }
}

using Code = std::error_code;

Code StoreDriver::read(ObjectStore& store, const ObjectId& id, uint64_t offset, Bytes into) {
  return wait([&](auto done) { store.read(id, offset, into, std::move(done)); });
}
std::vector<std::byte> StoreDriver::read(ObjectStore& store, const ObjectId& id, uint64_t offset,
                                         std::size_t length) {
  std::vector<std::byte> bytes(length, std::byte{0xee});
  EXPECT_EQ(read(store, id, offset, Bytes(bytes)), Code{});
  return bytes;
}
Code StoreDriver::write(ObjectStore& store, const ObjectId& id, uint64_t offset, ConstBytes from,
                        bool fua) {
  return wait([&](auto done) { store.write(id, offset, from, fua, std::move(done)); });
}
Code StoreDriver::zero(ObjectStore& store, const ObjectId& id, uint64_t offset, uint64_t length,
                       bool fua) {
  return wait([&](auto done) { store.zero(id, offset, length, fua, std::move(done)); });
}
Code StoreDriver::truncate(ObjectStore& store, const ObjectId& id, uint64_t size) {
  return wait([&](auto done) { store.truncate(id, size, std::move(done)); });
}
Code StoreDriver::remove(ObjectStore& store, const ObjectId& id) {
  return wait([&](auto done) { store.remove(id, std::move(done)); });
}
Code StoreDriver::remove_durably(ObjectStore& store, const ObjectId& id) {
  return wait([&](auto done) { store.remove_durably(id, std::move(done)); });
}
Code StoreDriver::replace(ObjectStore& store, const ObjectId& id, ConstBytes from) {
  return wait([&](auto done) { store.replace(id, from, std::move(done)); });
}
Code StoreDriver::set_xattr(ObjectStore& store, const ObjectId& id, const std::string& name,
                            ConstBytes value) {
  return wait([&](auto done) { store.set_xattr(id, name, value, std::move(done)); });
}
Code StoreDriver::flush(ObjectStore& store) {
  return wait([&](auto done) { store.flush(std::move(done)); });
}
Code StoreDriver::put_record(ObjectStore& store, const std::string& key, std::string_view value) {
  const ConstBytes bytes = as_const_bytes(value);
  return wait([&](auto done) {
    store.put_record(key, {bytes.begin(), bytes.end()}, std::move(done));
  });
}
Code StoreDriver::acknowledge_loss(ObjectStore& store) {
  return wait([&](auto done) { store.acknowledge_loss(std::move(done)); });
}
void StoreDriver::shutdown(ObjectStore& store) {
  bool is_done = false;
  store.shutdown([&] { is_done = true; });
  run_until(is_done);
}
Result<ObjectStore::Stat> StoreDriver::stat(ObjectStore& store, const ObjectId& id) {
  return wait<Result<ObjectStore::Stat>>([&](auto done) { store.stat(id, std::move(done)); });
}
Result<ExtentMap> StoreDriver::map_extents(ObjectStore& store, const ObjectId& id, uint64_t offset,
                                           uint64_t length) {
  return wait<Result<ExtentMap>>(
      [&](auto done) { store.map_extents(id, offset, length, std::move(done)); });
}
Result<std::string> StoreDriver::get_xattr(ObjectStore& store, const ObjectId& id,
                                           const std::string& name) {
  auto value = wait<Result<std::vector<std::byte>>>(
      [&](auto done) { store.get_xattr(id, name, std::move(done)); });
  if (!value) return failure(value.error());
  return std::string(as_text(*value));
}
Result<std::vector<std::string>> StoreDriver::list(ObjectStore& store, objecter::PoolId pool,
                                                   const std::string& cursor, uint32_t limit) {
  // Every name that does not end in "-other".
  const auto in_pg = [](const std::string& name) { return !name.ends_with("-other"); };
  return wait<Result<std::vector<std::string>>>(
      [&](auto done) { store.list(pool, cursor, limit, in_pg, std::move(done)); });
}

}  // namespace lunar::osd::test
