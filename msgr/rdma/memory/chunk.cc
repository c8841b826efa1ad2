// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/memory/chunk.h"

#include <sys/mman.h>

#include <bit>
#include <cerrno>

#include "common/check.h"

namespace lunar::msgr::rdma {
namespace {

constexpr int kShift = std::countr_zero(Mapping::kAlignment);

uintptr_t key_of(const void* address) noexcept {
  return reinterpret_cast<uintptr_t>(address) >> kShift;
}

}  // namespace

Result<std::unique_ptr<Mapping>> Mapping::create(std::size_t bytes, bool use_hugepages) {
  LUNAR_CHECK(bytes > 0 && bytes <= kAlignment && bytes % Buddy::kUnit == 0, "size of a mapping");
  // Reserve twice as much address space, keep the aligned part of it.
  constexpr std::size_t kReserved = 2 * kAlignment;
  void* reserved =
      mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return failure(last_system_error());
  const auto start = reinterpret_cast<uintptr_t>(reserved);
  const uintptr_t aligned = (start + kAlignment - 1) & ~(kAlignment - 1);
  auto* begin = reinterpret_cast<std::byte*>(aligned);

  std::unique_ptr<Mapping> mapping(new Mapping());
  mapping->size_ = bytes;
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  constexpr std::size_t kHugePage = 2u << 20;
  void* mapped = MAP_FAILED;
  if (use_hugepages && bytes % kHugePage == 0) {
    mapped = mmap(begin, bytes, kProtection, kFlags | MAP_HUGETLB | (21 << MAP_HUGE_SHIFT), -1, 0);
    mapping->is_huge_ = mapped != MAP_FAILED;
  }
  if (mapped == MAP_FAILED) mapped = mmap(begin, bytes, kProtection, kFlags, -1, 0);
  if (mapped == MAP_FAILED) {
    const std::error_code error = last_system_error();
    munmap(reserved, kReserved);
    return failure(error);
  }
  mapping->begin_ = begin;
  if (!mapping->is_huge_ && use_hugepages) madvise(begin, bytes, MADV_HUGEPAGE);
  // The rest of the address space goes back.
  if (aligned > start) munmap(reserved, aligned - start);
  munmap(begin + bytes, start + kReserved - (aligned + bytes));
  return mapping;
}

Mapping::~Mapping() {
  if (begin_ != nullptr) munmap(begin_, size_);
}

std::error_code Chunk::add_device(const Device& device, int access) {
  DeviceRegistration& entry = registrations_[device.id()];
  LUNAR_CHECK(entry.mr == nullptr, "a chunk is registered with a device once");
  entry.mr.reset(ibv_reg_mr(device.pd(), begin(), size(), access));
  if (entry.mr == nullptr) return verbs_error(errno);
  entry.keys = {entry.mr->lkey, entry.mr->rkey, entry.mr.get()};
  entry.is_valid.store(true, std::memory_order_release);
  return {};
}

void Chunk::remove_device(const Device& device) {
  DeviceRegistration& entry = registrations_[device.id()];
  entry.is_valid.store(false, std::memory_order_release);
  entry.mr.reset();
}

const MemoryKeys* Chunk::find(uint32_t device_id, const std::byte* first,
                              std::size_t length) const noexcept {
  const auto offset = static_cast<std::size_t>(first - begin());
  if (length > size() || offset > size() - length) return nullptr;
  const DeviceRegistration& entry = registrations_[device_id];
  return entry.is_valid.load(std::memory_order_acquire) ? &entry.keys : nullptr;
}

ChunkTable::ChunkTable(std::size_t most) {
  const std::size_t slots = std::bit_ceil(most * 2 + 2);  // at most half full: searches end
  mask_ = slots - 1;
  slots_ = std::make_unique<std::atomic<Chunk*>[]>(slots);
}

std::size_t ChunkTable::slot_of(uintptr_t key) const noexcept {
  return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15ull) >> 32) & mask_;
}

void ChunkTable::add(Chunk* chunk) noexcept {
  std::size_t slot = slot_of(key_of(chunk->begin()));
  while (slots_[slot].load(std::memory_order_relaxed) != nullptr) slot = (slot + 1) & mask_;
  slots_[slot].store(chunk, std::memory_order_release);
}

Chunk* ChunkTable::find(const std::byte* address) const noexcept {
  const uintptr_t key = key_of(address);
  for (std::size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
    Chunk* const chunk = slots_[slot].load(std::memory_order_acquire);
    if (chunk == nullptr || key_of(chunk->begin()) == key) return chunk;
  }
}

}  // namespace lunar::msgr::rdma
