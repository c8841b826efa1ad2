// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/memory/buddy.h"
#include "msgr/rdma/memory/arena.h"

namespace lunar::msgr::rdma {

// Memory from the kernel, aligned to kAlignment. Owns it. Immutable.
class Mapping {
 public:
  static constexpr std::size_t kAlignment = 16u << 20;
  // Blocks. Huge pages if wanted and the host has some left, else plain ones.
  static Result<std::unique_ptr<Mapping>> create(std::size_t bytes, bool use_hugepages);
  ~Mapping();
  std::byte* begin() const noexcept { return begin_; }
  std::size_t size() const noexcept { return size_; }
  bool is_huge() const noexcept { return is_huge_; }

 private:
  Mapping() = default;
  std::byte* begin_ = nullptr;
  std::size_t size_ = 0;
  bool is_huge_ = false;
};

// One block of an arena: memory, what of it is free, and its registrations. find() may be called by
// any thread at any time; everything else under the arena's locks.
class Chunk {
 public:
  explicit Chunk(std::unique_ptr<Mapping> mapping)
      : mapping_(std::move(mapping)), buddy_(mapping_->size()) {}

  // Blocks.
  std::error_code add_device(const Device& device, int access);
  void remove_device(const Device& device);
  const MemoryKeys* find(uint32_t device_id, const std::byte* begin,
                         std::size_t length) const noexcept;

  std::byte* begin() const noexcept { return mapping_->begin(); }
  std::size_t size() const noexcept { return mapping_->size(); }
  Buddy& buddy() noexcept { return buddy_; }

 private:
  struct DeviceRegistration {
    std::atomic<bool> is_valid{false};  // published after `keys`
    MemoryKeys keys;
    VerbsPtr<ibv_mr> mr;
  };
  const std::unique_ptr<Mapping> mapping_;  // after the registrations are gone
  std::array<DeviceRegistration, Device::kMaxDevices> registrations_;  // by device id
  Buddy buddy_;
};

// Chunks by address, found without a lock: open addressing by address / 16 MiB. Entries are only
// added. One thread at a time adds, any thread looks up.
class ChunkTable {
 public:
  explicit ChunkTable(std::size_t most);
  // REQUIRES: fewer than `most` so far.
  void add(Chunk* chunk) noexcept;
  Chunk* find(const std::byte* address) const noexcept;

 private:
  std::size_t slot_of(uintptr_t key) const noexcept;
  std::size_t mask_ = 0;
  std::unique_ptr<std::atomic<Chunk*>[]> slots_;
};

}  // namespace lunar::msgr::rdma
