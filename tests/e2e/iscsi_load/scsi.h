// SPDX-License-Identifier: LGPL-2.1-or-later
// SCSI commands and their results, as values. Immutable once submitted; nothing here does I/O.
// A Command may be submitted any number of times: a retry sends the same bytes again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lunar::iscsi_load {

// Payload memory, not zeroed. Shared because libiscsi may still be sending a write that the target
// has already refused.
class Buffer {
 public:
  explicit Buffer(size_t size) : bytes_(new std::byte[size]), size_(size) {}

  std::span<std::byte> span() { return {bytes_.get(), size_}; }
  std::span<const std::byte> span() const { return {bytes_.get(), size_}; }
  std::byte* data() { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  size_t size_;
};

enum class Direction { kNone, kRead, kWrite };

struct Command {
  std::vector<uint8_t> cdb;
  Direction direction = Direction::kNone;
  std::shared_ptr<Buffer> data;  // exactly the expected transfer length; null if there is none
};

enum SenseKey : uint8_t {
  kNoSense = 0,
  kRecoveredError = 1,
  kNotReady = 2,
  kMediumError = 3,
  kHardwareError = 4,
  kIllegalRequest = 5,
  kUnitAttention = 6,
  kDataProtect = 7,
  kAbortedCommand = 0xb,
  kMiscompare = 0xe,
};

struct Sense {
  uint8_t key = 0;
  uint8_t asc = 0;
  uint8_t ascq = 0;
  std::optional<uint64_t> information;  // only if the target marked it valid
  std::vector<uint8_t> raw;
};

// Reads fixed and descriptor format; what is too short or unknown gives an empty Sense with `raw`.
Sense parse_sense(std::span<const uint8_t> raw);

enum ScsiStatus : int {
  kGood = 0x00,
  kCheckCondition = 0x02,
  kConditionMet = 0x04,
  kBusy = 0x08,
  kReservationConflict = 0x18,
  kTaskSetFull = 0x28,
  kAcaActive = 0x30,
  kTaskAborted = 0x40,
};

// How an attempt ended. Only kAnswered says anything about what the target did.
enum class End { kAnswered, kAborted, kConnectionLost };

struct Completion {
  End end = End::kConnectionLost;
  int status = kGood;  // of the target, if kAnswered
  Sense sense;
  uint32_t transferred = 0;  // bytes, of the expected length

  bool is_good() const {
    return end == End::kAnswered && (status == kGood || status == kConditionMet);
  }
  bool is_sense(uint8_t key) const {
    return end == End::kAnswered && status == kCheckCondition && sense.key == key;
  }
  // "GOOD", "CHECK CONDITION 5/24/00", "connection lost", …
  std::string to_string() const;
};

const char* status_name(int status);
const char* sense_key_name(uint8_t key);

struct RwFlags {
  bool fua = false;
  bool dpo = false;
};

// lba and num_blocks count logical blocks; a buffer has num_blocks × block_bytes bytes.
Command test_unit_ready();
Command inquiry(std::optional<uint8_t> vpd_page, uint16_t allocation_length);
Command read_capacity16();
Command read16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> into, RwFlags flags);
Command write16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> from, RwFlags flags);
Command synchronize_cache16(uint64_t lba, uint32_t num_blocks);
Command verify16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> compare_with);
Command prefetch16(uint64_t lba, uint32_t num_blocks);
// `block` is one block.
Command write_same16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> block, bool unmap);
// `compare_then_write` is the blocks to compare followed by as many to write.
Command compare_and_write(uint64_t lba, uint8_t num_blocks,
                          std::shared_ptr<Buffer> compare_then_write, RwFlags flags);
Command or_write16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> from);
Command get_lba_status(uint64_t lba, uint32_t allocation_length);

struct UnmapRange {
  uint64_t lba;
  uint32_t num_blocks;
};
Command unmap(std::span<const UnmapRange> ranges);

// Big-endian integers as SCSI has them. REQUIRES: the bytes are there.
uint64_t get_be(const void* from, size_t num_bytes);
void put_be(void* to, size_t num_bytes, uint64_t value);

}  // namespace lunar::iscsi_load
