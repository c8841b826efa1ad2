// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/scsi.h"

#include <cstdio>
#include <cstring>

namespace lunar::iscsi_load {
namespace {

constexpr uint8_t kServiceActionReadCapacity16 = 0x10;
constexpr uint8_t kServiceActionGetLbaStatus = 0x12;

// The 16-byte CDB with a 64-bit LBA at 2 and a 32-bit count at 10, which most of SBC shares.
std::vector<uint8_t> cdb16(uint8_t opcode, uint8_t byte1, uint64_t lba, uint32_t count) {
  std::vector<uint8_t> cdb(16);
  cdb[0] = opcode;
  cdb[1] = byte1;
  put_be(&cdb[2], 8, lba);
  put_be(&cdb[10], 4, count);
  return cdb;
}

uint8_t rw_bits(RwFlags flags) { return (flags.dpo ? 0x10 : 0) | (flags.fua ? 0x08 : 0); }

void parse_descriptors(std::span<const uint8_t> descriptors, Sense& sense) {
  while (descriptors.size() >= 2) {
    size_t length = 2 + size_t{descriptors[1]};
    if (length > descriptors.size()) return;
    constexpr uint8_t kInformation = 0;
    if (descriptors[0] == kInformation && length >= 12 && (descriptors[2] & 0x80)) {
      sense.information = get_be(&descriptors[4], 8);
    }
    descriptors = descriptors.subspan(length);
  }
}

}  // namespace

uint64_t get_be(const void* from, size_t num_bytes) {
  auto* bytes = static_cast<const uint8_t*>(from);
  uint64_t value = 0;
  for (size_t i = 0; i < num_bytes; ++i) value = value << 8 | bytes[i];
  return value;
}

void put_be(void* to, size_t num_bytes, uint64_t value) {
  auto* bytes = static_cast<uint8_t*>(to);
  for (size_t i = 0; i < num_bytes; ++i) bytes[i] = value >> (8 * (num_bytes - 1 - i));
}

Sense parse_sense(std::span<const uint8_t> raw) {
  Sense sense;
  sense.raw.assign(raw.begin(), raw.end());
  if (raw.empty()) return sense;
  uint8_t format = raw[0] & 0x7f;
  if ((format == 0x70 || format == 0x71) && raw.size() >= 14) {
    sense.key = raw[2] & 0x0f;
    sense.asc = raw[12];
    sense.ascq = raw[13];
    if (raw[0] & 0x80) sense.information = get_be(&raw[3], 4);
  } else if ((format == 0x72 || format == 0x73) && raw.size() >= 8) {
    sense.key = raw[1] & 0x0f;
    sense.asc = raw[2];
    sense.ascq = raw[3];
    parse_descriptors(raw.subspan(8), sense);
  }
  return sense;
}

const char* status_name(int status) {
  switch (status) {
    case kGood:
      return "GOOD";
    case kCheckCondition:
      return "CHECK CONDITION";
    case kConditionMet:
      return "CONDITION MET";
    case kBusy:
      return "BUSY";
    case kReservationConflict:
      return "RESERVATION CONFLICT";
    case kTaskSetFull:
      return "TASK SET FULL";
    case kAcaActive:
      return "ACA ACTIVE";
    case kTaskAborted:
      return "TASK ABORTED";
    default:
      return "UNKNOWN STATUS";
  }
}

const char* sense_key_name(uint8_t key) {
  static constexpr const char* kNames[] = {
      "NO SENSE",       "RECOVERED ERROR", "NOT READY",      "MEDIUM ERROR",
      "HARDWARE ERROR", "ILLEGAL REQUEST", "UNIT ATTENTION", "DATA PROTECT",
      "BLANK CHECK",    "VENDOR SPECIFIC", "COPY ABORTED",   "ABORTED COMMAND",
      "RESERVED",       "VOLUME OVERFLOW", "MISCOMPARE",     "COMPLETED"};
  return kNames[key & 0x0f];
}

std::string Completion::to_string() const {
  if (end == End::kConnectionLost) return "connection lost";
  if (end == End::kAborted) return "timed out and aborted";
  std::string text = status_name(status);
  if (status == kCheckCondition) {
    char codes[32];
    std::snprintf(codes, sizeof codes, " %x/%02x/%02x", sense.key, sense.asc, sense.ascq);
    text += codes;
  }
  return text;
}

Command test_unit_ready() { return {std::vector<uint8_t>(6), Direction::kNone, nullptr}; }

Command inquiry(std::optional<uint8_t> vpd_page, uint16_t allocation_length) {
  std::vector<uint8_t> cdb(6);
  cdb[0] = 0x12;
  cdb[1] = vpd_page ? 1 : 0;
  cdb[2] = vpd_page.value_or(0);
  put_be(&cdb[3], 2, allocation_length);
  return {cdb, Direction::kRead, std::make_shared<Buffer>(allocation_length)};
}

Command read_capacity16() {
  constexpr uint32_t kLength = 32;
  auto cdb = cdb16(0x9e, kServiceActionReadCapacity16, 0, kLength);
  return {cdb, Direction::kRead, std::make_shared<Buffer>(kLength)};
}

Command read16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> into, RwFlags flags) {
  return {cdb16(0x88, rw_bits(flags), lba, num_blocks), Direction::kRead, std::move(into)};
}

Command write16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> from, RwFlags flags) {
  return {cdb16(0x8a, rw_bits(flags), lba, num_blocks), Direction::kWrite, std::move(from)};
}

Command synchronize_cache16(uint64_t lba, uint32_t num_blocks) {
  return {cdb16(0x91, 0, lba, num_blocks), Direction::kNone, nullptr};
}

Command verify16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> compare_with) {
  uint8_t bytchk = compare_with ? 0x02 : 0;
  auto direction = compare_with ? Direction::kWrite : Direction::kNone;
  return {cdb16(0x8f, bytchk, lba, num_blocks), direction, std::move(compare_with)};
}

Command prefetch16(uint64_t lba, uint32_t num_blocks) {
  return {cdb16(0x90, 0, lba, num_blocks), Direction::kNone, nullptr};
}

Command write_same16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> block, bool unmap) {
  return {cdb16(0x93, unmap ? 0x08 : 0, lba, num_blocks), Direction::kWrite, std::move(block)};
}

Command compare_and_write(uint64_t lba, uint8_t num_blocks,
                          std::shared_ptr<Buffer> compare_then_write, RwFlags flags) {
  auto cdb = cdb16(0x89, rw_bits(flags), lba, 0);
  cdb[13] = num_blocks;
  return {cdb, Direction::kWrite, std::move(compare_then_write)};
}

Command or_write16(uint64_t lba, uint32_t num_blocks, std::shared_ptr<Buffer> from) {
  return {cdb16(0x8b, 0, lba, num_blocks), Direction::kWrite, std::move(from)};
}

Command get_lba_status(uint64_t lba, uint32_t allocation_length) {
  return {cdb16(0x9e, kServiceActionGetLbaStatus, lba, allocation_length), Direction::kRead,
          std::make_shared<Buffer>(allocation_length)};
}

Command unmap(std::span<const UnmapRange> ranges) {
  constexpr size_t kHeaderBytes = 8, kDescriptorBytes = 16;
  size_t descriptors = kDescriptorBytes * ranges.size();
  auto list = std::make_shared<Buffer>(kHeaderBytes + descriptors);
  std::memset(list->data(), 0, list->size());
  put_be(list->data(), 2, list->size() - 2);
  put_be(list->data() + 2, 2, descriptors);
  std::byte* descriptor = list->data() + kHeaderBytes;
  for (const UnmapRange& range : ranges) {
    put_be(descriptor, 8, range.lba);
    put_be(descriptor + 8, 4, range.num_blocks);
    descriptor += kDescriptorBytes;
  }
  std::vector<uint8_t> cdb(10);
  cdb[0] = 0x42;
  put_be(&cdb[7], 2, list->size());
  return {cdb, Direction::kWrite, std::move(list)};
}

}  // namespace lunar::iscsi_load
