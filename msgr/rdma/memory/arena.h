// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/result.h"
#include "msgr/buffer.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/service_thread.h"

namespace lunar::msgr::rdma {

// What memory is for decides what a device may do with it.
enum class MemoryPurpose : uint8_t {
  kStaging,   // LOCAL_WRITE: payload that arrives, or that a server reads and writes
  kFrontEnd,  // LOCAL_WRITE | MW_BIND, and REMOTE_READ | REMOTE_WRITE in RkeyScope::kArena only
};
std::string_view purpose_name(MemoryPurpose purpose) noexcept;

struct MemoryKeys {
  uint32_t lkey = 0;
  uint32_t rkey = 0;
  ibv_mr* mr = nullptr;  // for binding windows
};

// Registered memory: chunks of 16 MiB aligned to their size (the first and the last may be
// smaller), huge pages if wanted and available, each registered with every attached device. Slices
// are powers of two from 4 KiB to the largest that a chunk can hold. Grows off the caller's thread:
// allocate() that finds no room asks the service thread for a chunk and returns an empty lease
// meanwhile. What is longer than the largest slice is plain memory: find() does not know it, its
// lease is not is_registered(). Thread-safe. Outlives its leases; a device is detached before it is
// closed.
class Arena final : public BufferPool {
 public:
  struct Options {
    MemoryPurpose purpose = MemoryPurpose::kStaging;
    std::size_t budget_bytes = 0;
    std::size_t initial_bytes = 0;  // made at create()
    bool use_hugepages = false;
    RkeyScope rkey_scope = RkeyScope::kWindow;
  };
  // Blocks.
  static Outcome<std::unique_ptr<Arena>> create(Options options, ServiceThread& service);
  ~Arena() override;

  // Registers every chunk, present and future, with the device. Blocks. The sentence on too small
  // an RLIMIT_MEMLOCK says how much there is, how much is needed and how to raise it
  // (limits.conf, LimitMEMLOCK=). With an error the device is not attached.
  Outcome<void> attach(std::shared_ptr<Device> device);
  // REQUIRES: no WR of ours on it is left. Blocks. Nothing if it is not attached.
  void detach(const Device& device);

  RegisteredBuffer allocate(std::size_t length) override;
  std::size_t bytes_in_use() const noexcept override;
  Bytes region_of(const std::byte* byte) const noexcept override;  // a chunk
  bool is_registered(uint32_t cookie) const noexcept override;
  // Of the chunks; pinned once per attached device.
  std::size_t bytes_registered() const noexcept;
  // The keys of memory of ours on that device, or null if any of it is not. No lock: for the path
  // of an IO.
  const MemoryKeys* find(const Device& device, const void* begin,
                         std::size_t length) const noexcept;

 protected:
  void release(Bytes slice, uint32_t cookie) noexcept override;

 private:
  struct Impl;
  explicit Arena(std::shared_ptr<Impl> impl);
  const std::shared_ptr<Impl> impl_;  // shared with a growth under way
};

}  // namespace lunar::msgr::rdma
