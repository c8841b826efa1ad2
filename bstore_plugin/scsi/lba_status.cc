// SPDX-License-Identifier: GPL-2.0-only
#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstring>

#include "bstore_plugin/scsi/scsi_command.h"

// GET LBA STATUS, SBC-4 5.10: asks the object servers what is allocated, extent by extent, until
// the answer is full or long enough.

namespace lunar::bstore_plugin {
namespace {

constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kDescriptorBytes = 16;
constexpr std::size_t kMaxDescriptors = 64;
// Objects looked at, so that the command ends in bounded time.
constexpr std::size_t kMaxAsked = 256;
constexpr uint8_t kDeallocated = 1;

}  // namespace

void ScsiCommand::lba_status() {
  if (cdb_.parameter_bytes == 0) return finish(Sense{});
  extents_asked_ = 0;
  next_lba_status(offset());
}

void ScsiCommand::next_lba_status(uint64_t at) {
  const std::size_t room =
      std::min<std::size_t>(cdb_.parameter_bytes, command_.data_in_bytes) / kDescriptorBytes;
  const std::size_t wanted = std::clamp<std::size_t>(room, 1, kMaxDescriptors);
  if (at >= image_->size() || statuses_.size() > wanted || ++extents_asked_ > kMaxAsked) {
    return send_lba_status();
  }
  image_->allocation_at(at, io_id_, [this, at](Result<gateway::Image::Allocation> found) {
    if (is_cancelled_) return finish_cancelled();
    if (!found) {
      gateway::IoResult failed;
      failed.error = found.error();
      return finish_as(failed);
    }
    // Whole blocks: one that is partly allocated counts as allocated.
    const uint64_t block = uint64_t{1} << limits_.block_shift;
    bool is_allocated = found->is_allocated;
    uint64_t length =
        is_allocated ? (found->length + block - 1) / block * block : found->length / block * block;
    if (length == 0) {
      is_allocated = true;
      length = block;
    }
    length = std::min(length, image_->size() - at);
    if (!statuses_.empty() && statuses_.back().is_allocated == is_allocated) {
      statuses_.back().length += length;
    } else {
      statuses_.push_back({at, length, is_allocated});
    }
    next_lba_status(at + length);
  });
}

void ScsiCommand::send_lba_status() {
  std::vector<unsigned char> out(kHeaderBytes);
  for (const LbaStatus& status : statuses_) {
    unsigned char descriptor[kDescriptorBytes] = {};
    const uint64_t blocks = std::min<uint64_t>(status.length >> limits_.block_shift, UINT32_MAX);
    boost::endian::store_big_u64(descriptor, status.begin >> limits_.block_shift);
    boost::endian::store_big_u32(descriptor + 8, static_cast<uint32_t>(blocks));
    descriptor[12] = status.is_allocated ? 0 : kDeallocated;
    out.insert(out.end(), descriptor, descriptor + kDescriptorBytes);
  }
  boost::endian::store_big_u32(out.data(), static_cast<uint32_t>(out.size() - 4));
  const std::size_t sent = std::min<std::size_t>(out.size(), cdb_.parameter_bytes);
  std::memcpy(command_.data_in, out.data(), std::min<std::size_t>(sent, command_.data_in_bytes));
  result_.transferred_in = static_cast<uint32_t>(sent);
  finish(Sense{});
}

}  // namespace lunar::bstore_plugin
