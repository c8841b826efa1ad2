// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/shared_arena.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/log_limited.h"
#include "common/mutex.h"
#include "msgr/local/sealed_memory.h"
#include "msgr/memory/buddy.h"

namespace lunar::msgr::local {
namespace {

constexpr uint32_t kPlainMemory = Buddy::kOrders;  // the cookie of what is in no chunk
static_assert(Buddy::kUnit == kPage);

std::size_t whole_pages(std::size_t bytes) noexcept { return (bytes + kPage - 1) / kPage * kPage; }

// One memfd and what of it is free.
struct SharedChunk {
  SharedChunk(std::byte* at, std::size_t bytes)
      : begin(at), buddy(bytes), is_replaced(bytes / kPage) {}

  std::byte* const begin;
  Buddy buddy;
  std::shared_ptr<const SharedRegion> region;
  std::vector<bool> is_replaced;  // by page: it is not of the region any more
  std::size_t replaced_pages = 0;
  std::size_t size() const noexcept { return is_replaced.size() * kPage; }
};

}  // namespace

struct SharedArena::Impl {
  explicit Impl(std::size_t budget) : budget_bytes(budget / kPage * kPage) {}

  // The chunk that holds the byte, or null.
  SharedChunk* find_chunk(const std::byte* byte) const REQUIRES(mutex) {
    const auto after = chunks.upper_bound(byte);
    if (after == chunks.begin()) return nullptr;
    SharedChunk* const chunk = std::prev(after)->second.get();
    return std::less<>()(byte, chunk->begin + chunk->size()) ? chunk : nullptr;
  }
  Result<std::shared_ptr<const SharedRegion>> make_region(std::byte* at, std::size_t bytes,
                                                          void** mapped) REQUIRES(mutex) {
    auto fd = make_sealed_memory(bytes);
    if (!fd) return failure(fd.error());
    const int fixed = at == nullptr ? 0 : MAP_FIXED;
    *mapped = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | fixed, fd->get(), 0);
    if (*mapped == MAP_FAILED) return failure(last_system_error());
    auto region = std::make_shared<SharedRegion>();
    region->fd = std::move(*fd);
    region->id = next_id++;
    return std::shared_ptr<const SharedRegion>(std::move(region));
  }
  SharedChunk* grow() REQUIRES(mutex) {
    const std::size_t bytes = std::min(Buddy::kLargest, budget_bytes - chunk_bytes);
    if (bytes == 0) return nullptr;
    void* mapped = nullptr;
    auto region = make_region(nullptr, bytes, &mapped);
    if (!region) {
      LUNAR_LOG_LIMITED(kMs, 0, "no more memory to share with servers of this host: {}",
                        region.error().message());
      return nullptr;
    }
    auto chunk = std::make_unique<SharedChunk>(static_cast<std::byte*>(mapped), bytes);
    chunk->region = std::move(*region);
    chunk_bytes += bytes;
    SharedChunk* const grown = chunk.get();
    chunks.emplace(grown->begin, std::move(chunk));
    return grown;
  }
  // Nobody uses the chunk: it gets a new memfd in place of one that has lost pages.
  void renew(SharedChunk& chunk) REQUIRES(mutex) {
    void* mapped = nullptr;
    auto region = make_region(chunk.begin, chunk.size(), &mapped);
    if (!region) return;  // its pages stay; what of them was replaced is not handed over
    chunk.region = std::move(*region);
    chunk.is_replaced.assign(chunk.is_replaced.size(), false);
    chunk.replaced_pages = 0;
  }

  const std::size_t budget_bytes;
  std::atomic<std::size_t> in_use{0};
  mutable Mutex mutex;
  std::map<const std::byte*, std::unique_ptr<SharedChunk>, std::less<>> chunks GUARDED_BY(mutex);
  std::size_t chunk_bytes GUARDED_BY(mutex) = 0;
  uint64_t next_id GUARDED_BY(mutex) = 1;
};

SharedArena::SharedArena(std::size_t budget_bytes) : impl_(std::make_unique<Impl>(budget_bytes)) {
  LUNAR_CHECK(budget_bytes >= kPage, "an arena without a budget");
}

SharedArena::~SharedArena() {
  LUNAR_CHECK(bytes_in_use() == 0, "a buffer outlives its arena");
  const MutexLock lock(impl_->mutex);
  for (const auto& [begin, chunk] : impl_->chunks) munmap(chunk->begin, chunk->size());
}

RegisteredBuffer SharedArena::allocate(std::size_t length) {
  LUNAR_CHECK(length > 0 && length <= SIZE_MAX / 2, "the length of a buffer");
  if (length > Buddy::kLargest) {
    const std::size_t size = whole_pages(length);
    std::size_t idle = 0;  // an idle pool grants one of any size
    if (size > impl_->budget_bytes) {
      if (!impl_->in_use.compare_exchange_strong(idle, size)) return {};
    } else if (impl_->in_use.fetch_add(size) > impl_->budget_bytes - size) {
      impl_->in_use.fetch_sub(size);
      return {};
    }
    void* const memory = std::aligned_alloc(kPage, size);
    LUNAR_CHECK(memory != nullptr, "out of memory");
    return {this, Bytes(static_cast<std::byte*>(memory), length), kPlainMemory};
  }
  const uint32_t order = Buddy::order_of(length);
  const auto lend = [&](SharedChunk& chunk, std::size_t offset) {
    impl_->in_use.fetch_add(kPage << order, std::memory_order_relaxed);
    return RegisteredBuffer(this, Bytes(chunk.begin + offset, length), order);
  };
  const MutexLock lock(impl_->mutex);
  for (const auto& [begin, chunk] : impl_->chunks) {
    if (const auto offset = chunk->buddy.allocate(order)) return lend(*chunk, *offset);
  }
  SharedChunk* const grown = impl_->grow();
  if (grown == nullptr) return {};
  const auto offset = grown->buddy.allocate(order);
  return offset ? lend(*grown, *offset) : RegisteredBuffer();
}

void SharedArena::release(Bytes slice, uint32_t cookie) noexcept {
  if (cookie == kPlainMemory) {
    impl_->in_use.fetch_sub(whole_pages(slice.size()));
    return std::free(slice.data());
  }
  impl_->in_use.fetch_sub(kPage << cookie, std::memory_order_relaxed);
  const MutexLock lock(impl_->mutex);
  SharedChunk* const chunk = impl_->find_chunk(slice.data());
  LUNAR_CHECK(chunk != nullptr, "not a slice of this arena");
  chunk->buddy.free(static_cast<std::size_t>(slice.data() - chunk->begin), cookie);
  if (chunk->replaced_pages > 0 && chunk->buddy.free_bytes() == chunk->size()) impl_->renew(*chunk);
}

std::size_t SharedArena::bytes_in_use() const noexcept {
  return impl_->in_use.load(std::memory_order_relaxed);
}

bool SharedArena::is_registered(uint32_t cookie) const noexcept { return cookie != kPlainMemory; }

std::optional<SharedArena::Place> SharedArena::find(ConstBytes memory) const {
  const MutexLock lock(impl_->mutex);
  const SharedChunk* const chunk = impl_->find_chunk(memory.data());
  if (chunk == nullptr || memory.empty()) return std::nullopt;
  const auto offset = static_cast<std::size_t>(memory.data() - chunk->begin);
  if (memory.size() > chunk->size() - offset) return std::nullopt;
  if (chunk->replaced_pages > 0) {
    for (std::size_t page = offset / kPage; page * kPage < offset + memory.size(); ++page) {
      if (chunk->is_replaced[page]) return std::nullopt;
    }
  }
  return Place{chunk->region, static_cast<uint32_t>(offset)};
}

std::error_code SharedArena::replace(Bytes memory) {
  const MutexLock lock(impl_->mutex);
  SharedChunk* const chunk = impl_->find_chunk(memory.data());
  LUNAR_CHECK(chunk != nullptr, "not a slice of this arena");
  const auto offset = static_cast<std::size_t>(memory.data() - chunk->begin);
  LUNAR_CHECK(offset % kPage == 0, "pages are replaced as a whole");
  const std::size_t size = whole_pages(memory.size());
  // The new pages are there before the old ones go: a mapping of anonymous memory may be refused
  // when those have gone.
  const auto fresh = make_sealed_memory(size);
  if (!fresh) return fresh.error();
  const int fd = fresh->get();
  while (fallocate(fd, 0, 0, static_cast<off_t>(size)) < 0) {
    if (errno != EINTR) return last_system_error();
  }
  const void* const mapped =
      mmap(memory.data(), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
  if (mapped == MAP_FAILED) return last_system_error();
  for (std::size_t page = offset / kPage; page * kPage < offset + size; ++page) {
    if (chunk->is_replaced[page]) continue;
    chunk->is_replaced[page] = true;
    ++chunk->replaced_pages;
  }
  return {};
}

}  // namespace lunar::msgr::local
