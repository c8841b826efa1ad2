// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/buffer.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <vector>

#include "common/check.h"
#include "common/mutex.h"

namespace lunar::msgr {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLargestClass = 16u << 20;
constexpr uint32_t kNumClasses = 13;  // 4 KiB, 8 KiB, … 16 MiB
static_assert(kPage << (kNumClasses - 1) == kLargestClass);
constexpr uint32_t kUnclassed = kNumClasses;  // the cookie of a slice made to measure

class HeapBufferPool final : public BufferPool {
 public:
  HeapBufferPool(std::size_t budget_bytes, std::size_t cached_bytes) noexcept
      : budget_bytes_(budget_bytes), cached_limit_(cached_bytes) {}
  ~HeapBufferPool() override {
    LUNAR_CHECK(in_use_.load() == 0, "a buffer outlives its pool");
    for (auto& slices : free_) {
      for (std::byte* slice : slices) std::free(slice);
    }
  }

  RegisteredBuffer allocate(std::size_t length) override {
    LUNAR_CHECK(length > 0 && length <= SIZE_MAX - kPage, "the length of a buffer");
    const uint32_t cookie = class_of(length);
    const std::size_t size = size_of(cookie, length);
    if (!charge(size)) return {};
    return {this, Bytes(take(cookie, size), length), cookie};
  }
  std::size_t bytes_in_use() const noexcept override {
    return in_use_.load(std::memory_order_relaxed);
  }

 protected:
  void release(Bytes slice, uint32_t cookie) noexcept override {
    const std::size_t size = size_of(cookie, slice.size());
    give_back(slice.data(), cookie, size);
    in_use_.fetch_sub(size, std::memory_order_relaxed);
  }

 private:
  static uint32_t class_of(std::size_t length) noexcept {
    if (length > kLargestClass) return kUnclassed;
    return static_cast<uint32_t>(std::bit_width((length - 1) / kPage));
  }
  static std::size_t size_of(uint32_t cookie, std::size_t length) noexcept {
    return cookie == kUnclassed ? (length + kPage - 1) / kPage * kPage : kPage << cookie;
  }

  bool charge(std::size_t size) noexcept {
    std::size_t used = in_use_.load(std::memory_order_relaxed);
    do {
      if (used != 0 && (used >= budget_bytes_ || size > budget_bytes_ - used)) return false;
    } while (!in_use_.compare_exchange_weak(used, used + size, std::memory_order_relaxed));
    return true;
  }

  std::byte* take(uint32_t cookie, std::size_t size) EXCLUDES(mutex_) {
    if (cookie != kUnclassed) {
      const MutexLock lock(mutex_);
      if (!free_[cookie].empty()) {
        std::byte* slice = free_[cookie].back();
        free_[cookie].pop_back();
        cached_ -= size;
        return slice;
      }
    }
    void* slice = std::aligned_alloc(kPage, size);
    LUNAR_CHECK(slice != nullptr, "out of memory");
    return static_cast<std::byte*>(slice);
  }

  void give_back(std::byte* slice, uint32_t cookie, std::size_t size) noexcept EXCLUDES(mutex_) {
    if (cookie != kUnclassed) {
      const MutexLock lock(mutex_);
      if (cached_ + size <= cached_limit_) {
        free_[cookie].push_back(slice);
        cached_ += size;
        return;
      }
    }
    std::free(slice);
  }

  const std::size_t budget_bytes_;
  const std::size_t cached_limit_;
  std::atomic<std::size_t> in_use_{0};
  Mutex mutex_;
  std::array<std::vector<std::byte*>, kNumClasses> free_ GUARDED_BY(mutex_);
  std::size_t cached_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<BufferPool> make_heap_buffer_pool(std::size_t budget_bytes,
                                                  std::size_t cached_bytes) {
  return std::make_unique<HeapBufferPool>(budget_bytes, cached_bytes);
}

}  // namespace lunar::msgr
