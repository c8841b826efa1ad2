// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/memory/arena.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/host.h"
#include "common/log.h"
#include "common/memlock.h"
#include "common/mutex.h"
#include "msgr/rdma/memory/chunk.h"

// Two locks. `growth` is held while memory is registered, which takes long: it orders growth,
// attach and detach among each other. `mutex` is held for moments: it guards what is free. A chunk
// is put where allocate() sees it when it is registered with every device, and stays for the
// arena's life; so find() needs no lock.

namespace lunar::msgr::rdma {
namespace {

constexpr std::size_t kChunkBytes = Mapping::kAlignment;
constexpr uint32_t kPlain = Buddy::kOrders;      // the cookie of memory that is not in a chunk
constexpr std::chrono::seconds kGrowthPause{1};  // after one that failed
static_assert(kChunkBytes == Buddy::kLargest);

std::size_t round_up(std::size_t bytes) noexcept {
  return (bytes + Buddy::kUnit - 1) / Buddy::kUnit * Buddy::kUnit;
}

std::size_t initial_bytes_of(const Arena::Options& options) noexcept {
  return std::min(round_up(options.initial_bytes), options.budget_bytes);
}

int access_of(const Arena::Options& options) noexcept {
  switch (options.purpose) {
    case MemoryPurpose::kStaging:
      return IBV_ACCESS_LOCAL_WRITE;
    case MemoryPurpose::kFrontEnd:
      break;
  }
  const int remote = options.rkey_scope == RkeyScope::kArena
                         ? IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE
                         : 0;
  return IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_MW_BIND | remote;
}

}  // namespace

std::string_view purpose_name(MemoryPurpose purpose) noexcept {
  switch (purpose) {
    case MemoryPurpose::kStaging:
      return "staging buffers";
    case MemoryPurpose::kFrontEnd:
      break;
  }
  return "front-end buffers";
}

struct Arena::Impl {
  Impl(Options with, ServiceThread& on)
      : options(with),
        service(on),
        largest_slice(largest_slice_of(with)),
        table((with.budget_bytes + kChunkBytes - 1) / kChunkBytes) {}

  const Options options;
  ServiceThread& service;
  const std::size_t largest_slice;  // that there can ever be

  Mutex growth;
  std::vector<std::shared_ptr<Device>> devices GUARDED_BY(growth);
  bool is_over GUARDED_BY(growth) = false;

  Mutex mutex;  // taken after `growth`
  std::vector<std::unique_ptr<Chunk>> chunks GUARDED_BY(mutex);
  bool is_growing GUARDED_BY(mutex) = false;
  std::chrono::steady_clock::time_point no_growth_before GUARDED_BY(mutex){};

  ChunkTable table;
  std::atomic<std::size_t> registered{0};
  std::atomic<std::size_t> in_use{0};

  std::size_t next_chunk_bytes() const noexcept {
    const std::size_t have = registered.load(std::memory_order_relaxed);
    return std::min(kChunkBytes, options.budget_bytes - std::min(have, options.budget_bytes));
  }
  std::vector<Chunk*> all_chunks() EXCLUDES(mutex) {
    const MutexLock lock(mutex);
    std::vector<Chunk*> all;
    for (const auto& chunk : chunks) all.push_back(chunk.get());
    return all;
  }

  Outcome<void> add_device(Chunk& chunk, const Device& device) REQUIRES(growth) {
    const std::string purpose(purpose_name(options.purpose));
    if (auto fits = check_memlock(raise_memlock(), chunk.size(), purpose); !fits) return fits;
    if (const std::error_code error = chunk.add_device(device, access_of(options))) {
      return failure(
          error, fmt::format(
                     "{} of {} cannot be registered with RDMA device {}: {}{}",
                     memlock_text(chunk.size()), purpose, device.name(), error.message(),
                     error == std::errc::not_enough_memory
                         ? fmt::format("; if RLIMIT_MEMLOCK is what is short, {}", memlock_advice())
                         : ""));
    }
    note_pinned(chunk.size());
    return {};
  }
  void remove_device(Chunk& chunk, const Device& device) REQUIRES(growth) {
    chunk.remove_device(device);
    note_unpinned(chunk.size());
  }

  Outcome<void> grow(std::size_t bytes) EXCLUDES(growth, mutex) {
    const MutexLock growing(growth);
    if (is_over) return {};
    auto mapping = Mapping::create(bytes, options.use_hugepages);
    if (!mapping) {
      return failure(mapping.error(),
                     fmt::format("no memory for {}: {}", purpose_name(options.purpose),
                                 mapping.error().message()));
    }
    if (options.use_hugepages && !(*mapping)->is_huge()) {
      LUNAR_LOG(kMs, 1,
                "no huge pages left for {} of {} (see vm.nr_hugepages): plain pages are used",
                memlock_text(bytes), purpose_name(options.purpose));
    }
    auto chunk = std::make_unique<Chunk>(std::move(*mapping));
    for (std::size_t i = 0; i < devices.size(); ++i) {
      auto added = add_device(*chunk, *devices[i]);
      if (added) continue;
      while (i-- > 0) remove_device(*chunk, *devices[i]);
      return added;
    }
    table.add(chunk.get());
    registered.fetch_add(bytes, std::memory_order_relaxed);
    const MutexLock lock(mutex);
    chunks.push_back(std::move(chunk));
    return {};
  }

  // Slices of `order` are used up.
  static void ask_to_grow(const std::shared_ptr<Impl>& self, uint32_t order) EXCLUDES(self->mutex) {
    {
      const MutexLock lock(self->mutex);
      const std::size_t bytes = self->next_chunk_bytes();
      if (self->is_growing || bytes < Buddy::kUnit << order) return;
      if (monotonic_now() < self->no_growth_before) return;
      self->is_growing = true;
    }
    const std::error_code refused = self->service.run([self] { self->grow_now(); });
    if (refused) self->finish_growth(failure(refused, "no thread to register memory on"));
  }
  void grow_now() EXCLUDES(mutex) {
    const std::size_t bytes = next_chunk_bytes();
    finish_growth(bytes == 0 ? Outcome<void>() : grow(bytes));
  }
  void finish_growth(Outcome<void> grown) EXCLUDES(mutex) {
    if (!grown) LUNAR_LOG(kMs, 0, "{}", grown.error().message);
    const MutexLock lock(mutex);
    is_growing = false;
    if (!grown) no_growth_before = monotonic_now() + kGrowthPause;
  }

  // Of the chunk made first and the one after it; no later one is larger.
  static std::size_t largest_slice_of(const Options& options) noexcept {
    const std::size_t first = std::min(kChunkBytes, initial_bytes_of(options));
    const std::size_t second = std::min(kChunkBytes, options.budget_bytes - first);
    return std::bit_floor(std::max(first, second));
  }
  bool charge_plain(std::size_t size) noexcept {
    std::size_t used = in_use.load(std::memory_order_relaxed);
    do {
      // An idle pool grants one of any size: what fits a limit can always proceed.
      if (used != 0 && (used >= options.budget_bytes || size > options.budget_bytes - used)) {
        return false;
      }
    } while (!in_use.compare_exchange_weak(used, used + size, std::memory_order_relaxed));
    return true;
  }
};

Outcome<std::unique_ptr<Arena>> Arena::create(Options options, ServiceThread& service) {
  LUNAR_CHECK(options.budget_bytes >= Buddy::kUnit, "an arena without a budget");
  options.budget_bytes = options.budget_bytes / Buddy::kUnit * Buddy::kUnit;
  const auto impl = std::make_shared<Impl>(options, service);
  const std::size_t initial = initial_bytes_of(options);
  while (impl->registered.load(std::memory_order_relaxed) < initial) {
    const std::size_t missing = initial - impl->registered.load(std::memory_order_relaxed);
    if (auto grown = impl->grow(std::min(kChunkBytes, missing)); !grown) {
      return failure(std::move(grown.error()));
    }
  }
  return std::unique_ptr<Arena>(new Arena(impl));
}

Arena::Arena(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Arena::~Arena() {
  LUNAR_CHECK(bytes_in_use() == 0, "a buffer outlives its arena");
  const MutexLock growing(impl_->growth);
  impl_->is_over = true;  // a growth that is queued does nothing
  for (const auto& device : impl_->devices) {
    for (Chunk* chunk : impl_->all_chunks()) impl_->remove_device(*chunk, *device);
  }
  impl_->devices.clear();
}

Outcome<void> Arena::attach(std::shared_ptr<Device> device) {
  const MutexLock growing(impl_->growth);
  const std::vector<Chunk*> chunks = impl_->all_chunks();
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    auto added = impl_->add_device(*chunks[i], *device);
    if (added) continue;
    while (i-- > 0) impl_->remove_device(*chunks[i], *device);
    return added;
  }
  impl_->devices.push_back(std::move(device));
  return {};
}

void Arena::detach(const Device& device) {
  std::shared_ptr<Device> kept;  // closed, if this was the last of it, without our lock
  const MutexLock growing(impl_->growth);
  const auto found = std::find_if(impl_->devices.begin(), impl_->devices.end(),
                                  [&](const auto& attached) { return attached.get() == &device; });
  if (found == impl_->devices.end()) return;
  for (Chunk* chunk : impl_->all_chunks()) impl_->remove_device(*chunk, device);
  kept = std::move(*found);
  impl_->devices.erase(found);
}

RegisteredBuffer Arena::allocate(std::size_t length) {
  LUNAR_CHECK(length > 0 && length <= SIZE_MAX / 2, "the length of a buffer");
  if (length > impl_->largest_slice) {
    const std::size_t size = round_up(length);
    if (!impl_->charge_plain(size)) return {};
    void* memory = std::aligned_alloc(Buddy::kUnit, size);
    if (memory == nullptr) {
      impl_->in_use.fetch_sub(size, std::memory_order_relaxed);
      return {};
    }
    return {this, Bytes(static_cast<std::byte*>(memory), length), kPlain};
  }
  const uint32_t order = Buddy::order_of(length);
  {
    const MutexLock lock(impl_->mutex);
    for (const auto& chunk : impl_->chunks) {
      const auto offset = chunk->buddy().allocate(order);
      if (!offset) continue;
      impl_->in_use.fetch_add(Buddy::kUnit << order, std::memory_order_relaxed);
      return {this, Bytes(chunk->begin() + *offset, length), order};
    }
  }
  Impl::ask_to_grow(impl_, order);
  return {};
}

void Arena::release(Bytes slice, uint32_t cookie) noexcept {
  if (cookie == kPlain) {
    impl_->in_use.fetch_sub(round_up(slice.size()), std::memory_order_relaxed);
    std::free(slice.data());
    return;
  }
  Chunk* const chunk = impl_->table.find(slice.data());
  LUNAR_CHECK(chunk != nullptr, "not a slice of this arena");
  impl_->in_use.fetch_sub(Buddy::kUnit << cookie, std::memory_order_relaxed);
  const MutexLock lock(impl_->mutex);
  chunk->buddy().free(static_cast<std::size_t>(slice.data() - chunk->begin()), cookie);
}

std::size_t Arena::bytes_in_use() const noexcept {
  return impl_->in_use.load(std::memory_order_relaxed);
}

Bytes Arena::region_of(const std::byte* byte) const noexcept {
  Chunk* const chunk = impl_->table.find(byte);
  return chunk == nullptr ? Bytes() : Bytes(chunk->begin(), chunk->size());
}

bool Arena::is_registered(uint32_t cookie) const noexcept { return cookie != kPlain; }

std::size_t Arena::bytes_registered() const noexcept {
  return impl_->registered.load(std::memory_order_relaxed);
}

const MemoryKeys* Arena::find(const Device& device, const void* begin,
                              std::size_t length) const noexcept {
  const auto* first = static_cast<const std::byte*>(begin);
  const Chunk* const chunk = impl_->table.find(first);
  return chunk == nullptr ? nullptr : chunk->find(device.id(), first, length);
}

}  // namespace lunar::msgr::rdma
