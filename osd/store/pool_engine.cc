// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/io_engine.h"

namespace lunar::osd {
namespace {

class PoolEngine final : public IoEngine {
 public:
  PoolEngine(BlockingPool& pool, Syscalls& syscalls) : pool_(pool), syscalls_(syscalls) {}

  void read(IoFile file, Bytes into, uint64_t offset, Done done) override {
    pool_.run([this, fd = file.fd, into, offset] { return syscalls_.read(fd, into, offset, 0); },
              [done = std::move(done)](ssize_t result) mutable { done(static_cast<int>(result)); });
  }
  void write(IoFile file, ConstBytes from, uint64_t offset, int flags, Done done) override {
    pool_.run([this, fd = file.fd, from, offset,
               flags] { return syscalls_.write(fd, from, offset, flags); },
              [done = std::move(done)](ssize_t result) mutable { done(static_cast<int>(result)); });
  }
  void sync(int fd, bool is_data_only, Done done) override {
    pool_.run(
        [this, fd, is_data_only] {
          return is_data_only ? syscalls_.sync_data(fd) : syscalls_.sync_file(fd);
        },
        [done = std::move(done)](int result) mutable { done(result); });
  }
  const char* name() const noexcept override { return "threads"; }

 private:
  BlockingPool& pool_;
  Syscalls& syscalls_;
};

}  // namespace

std::unique_ptr<IoEngine> make_pool_engine(BlockingPool& pool, Syscalls& syscalls) {
  return std::make_unique<PoolEngine>(pool, syscalls);
}

}  // namespace lunar::osd
