// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tcp/command_buffers.h"

#include <bit>
#include <cstdlib>

#include "common/check.h"

namespace lunar::bstore_plugin {

CommandBuffers::~CommandBuffers() {
  for (const auto& [begin, buffer] : buffers_) {
    LUNAR_CHECK(buffer.references == 0, "a command's data buffer was never released");
    std::free(buffer.begin);
  }
}

uint8_t CommandBuffers::class_of(std::size_t bytes) noexcept {
  if (bytes <= kSmallest) return 0;
  const auto index = static_cast<std::size_t>(std::bit_width((bytes - 1) / kSmallest));
  return index < kNumClasses ? static_cast<uint8_t>(index) : kUnpooled;
}

CommandBuffers::Buffer* CommandBuffers::take(Buffer& buffer, BufferOwner* owner) noexcept {
  buffer.references = 1;
  buffer.owner = owner;
  if (owner != nullptr) owner->add(buffer.capacity);
  return &buffer;
}

CommandBuffers::Buffer* CommandBuffers::allocate(std::size_t bytes, BufferOwner* owner) {
  if (foreign_ != nullptr && bytes >= kSmallest) {
    if (void* const begin = foreign_->allocate(bytes)) {
      Buffer& buffer = buffers_[begin];
      buffer = {static_cast<std::byte*>(begin), bytes, 0, kUnpooled, true, nullptr};
      return take(buffer, owner);
    }
  }
  const uint8_t size_class = class_of(bytes);
  if (size_class != kUnpooled && !kept_[size_class].empty()) {
    Buffer& buffer = *kept_[size_class].back();
    kept_[size_class].pop_back();
    kept_bytes_ -= buffer.capacity;
    return take(buffer, owner);
  }
  if (bytes > SIZE_MAX - kSmallest) return nullptr;
  const std::size_t capacity = size_class == kUnpooled
                                   ? (bytes + kSmallest - 1) / kSmallest * kSmallest
                                   : kSmallest << size_class;
  void* begin = nullptr;
  if (posix_memalign(&begin, kSmallest, capacity) != 0) return nullptr;
  Buffer& buffer = buffers_[begin];
  buffer = {static_cast<std::byte*>(begin), capacity, 0, size_class, false, nullptr};
  return take(buffer, owner);
}

CommandBuffers::Buffer* CommandBuffers::find(const void* begin) noexcept {
  const auto found = buffers_.find(begin);
  return found == buffers_.end() || found->second.references == 0 ? nullptr : &found->second;
}

void CommandBuffers::release(Buffer& buffer) {
  if (--buffer.references != 0) return;
  if (buffer.owner != nullptr) {
    buffer.owner->subtract(buffer.capacity);
    buffer.owner = nullptr;
  }
  if (buffer.size_class != kUnpooled && kept_bytes_ + buffer.capacity <= kMaxKeptBytes) {
    kept_[buffer.size_class].push_back(&buffer);
    kept_bytes_ += buffer.capacity;
    return;
  }
  std::byte* const begin = buffer.begin;
  const bool is_foreign = buffer.is_foreign;
  buffers_.erase(begin);
  if (is_foreign) {
    foreign_->release(begin);
  } else {
    std::free(begin);
  }
}

}  // namespace lunar::bstore_plugin
