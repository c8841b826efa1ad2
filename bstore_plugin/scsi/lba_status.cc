// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/scsi/lba_status.h"

#include <algorithm>
#include <boost/endian/conversion.hpp>

namespace lunar::bstore_plugin {
namespace {

constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kDescriptorBytes = 16;
constexpr std::size_t kMaxDescriptors = 64;
// Objects looked at, so that the command ends in bounded time.
constexpr std::size_t kMaxAsked = 256;
constexpr unsigned char kDeallocated = 1;

}  // namespace

LbaStatusAnswer::LbaStatusAnswer(uint64_t begin, uint32_t block_shift, std::size_t room_bytes)
    : block_shift_(block_shift),
      wanted_(std::clamp<std::size_t>(room_bytes / kDescriptorBytes, 1, kMaxDescriptors)),
      next_(begin) {}

bool LbaStatusAnswer::wants_more(uint64_t image_bytes) const noexcept {
  return next_ < image_bytes && runs_.size() <= wanted_ && extents_asked_ < kMaxAsked;
}

void LbaStatusAnswer::add(const gateway::Image::Allocation& found, uint64_t image_bytes) {
  ++extents_asked_;
  // Whole blocks: one that is partly allocated counts as allocated.
  const uint64_t block = uint64_t{1} << block_shift_;
  bool is_allocated = found.is_allocated;
  uint64_t length =
      is_allocated ? (found.length + block - 1) / block * block : found.length / block * block;
  if (length == 0) {
    is_allocated = true;
    length = block;
  }
  length = std::min(length, image_bytes - next_);
  if (!runs_.empty() && runs_.back().is_allocated == is_allocated) {
    runs_.back().length += length;
  } else {
    runs_.push_back({next_, length, is_allocated});
  }
  next_ += length;
}

std::vector<std::byte> LbaStatusAnswer::encode() const {
  std::vector<std::byte> out(kHeaderBytes + runs_.size() * kDescriptorBytes);
  auto* at = reinterpret_cast<unsigned char*>(out.data());
  boost::endian::store_big_u32(at, static_cast<uint32_t>(out.size() - 4));
  at += kHeaderBytes;
  for (const StatusRun& run : runs_) {
    const uint64_t blocks = std::min<uint64_t>(run.length >> block_shift_, UINT32_MAX);
    boost::endian::store_big_u64(at, run.begin >> block_shift_);
    boost::endian::store_big_u32(at + 8, static_cast<uint32_t>(blocks));
    at[12] = run.is_allocated ? 0 : kDeallocated;
    at += kDescriptorBytes;
  }
  return out;
}

}  // namespace lunar::bstore_plugin
