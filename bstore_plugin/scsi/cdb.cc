// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/scsi/cdb.h"

#include <algorithm>
#include <boost/endian/conversion.hpp>

namespace lunar::bstore_plugin {
namespace {

// SPC-5 and SBC-4 op codes.
enum CdbOpcode : uint8_t {
  kTestUnitReady = 0x00,
  kRead6 = 0x08,
  kWrite6 = 0x0a,
  kModeSelect6 = 0x15,
  kStartStopUnit = 0x1b,
  kRead10 = 0x28,
  kWrite10 = 0x2a,
  kWriteVerify10 = 0x2e,
  kVerify10 = 0x2f,
  kPreFetch10 = 0x34,
  kSynchronizeCache10 = 0x35,
  kWriteSame10 = 0x41,
  kUnmap = 0x42,
  kModeSelect10 = 0x55,
  kRead16 = 0x88,
  kCompareAndWrite = 0x89,
  kWrite16 = 0x8a,
  kOrWrite16 = 0x8b,
  kWriteVerify16 = 0x8e,
  kVerify16 = 0x8f,
  kPreFetch16 = 0x90,
  kSynchronizeCache16 = 0x91,
  kWriteSame16 = 0x93,
  kServiceActionIn16 = 0x9e,
  kRead12 = 0xa8,
  kWrite12 = 0xaa,
  kWriteVerify12 = 0xae,
  kVerify12 = 0xaf,
};
constexpr uint8_t kGetLbaStatusAction = 0x12;

uint8_t byte_at(ConstBytes bytes, std::size_t at) { return static_cast<uint8_t>(bytes[at]); }
uint16_t be16(ConstBytes bytes, std::size_t at) {
  return boost::endian::load_big_u16(reinterpret_cast<const unsigned char*>(&bytes[at]));
}
uint32_t be32(ConstBytes bytes, std::size_t at) {
  return boost::endian::load_big_u32(reinterpret_cast<const unsigned char*>(&bytes[at]));
}
uint64_t be64(ConstBytes bytes, std::size_t at) {
  return boost::endian::load_big_u64(reinterpret_cast<const unsigned char*>(&bytes[at]));
}

std::optional<CommandKind> kind_of(ConstBytes cdb) {
  switch (byte_at(cdb, 0)) {
    case kTestUnitReady:
      return CommandKind::kTestUnitReady;
    case kModeSelect6:
    case kModeSelect10:
    case kStartStopUnit:
      return CommandKind::kWriteBack;
    case kRead6:
    case kRead10:
    case kRead12:
    case kRead16:
      return CommandKind::kRead;
    case kWrite6:
    case kWrite10:
    case kWrite12:
    case kWrite16:
      return CommandKind::kWrite;
    case kWriteVerify10:
    case kWriteVerify12:
    case kWriteVerify16:
      return CommandKind::kWriteAndVerify;
    case kVerify10:
    case kVerify12:
    case kVerify16:
      return CommandKind::kVerify;
    case kSynchronizeCache10:
    case kSynchronizeCache16:
      return CommandKind::kSynchronizeCache;
    case kUnmap:
      return CommandKind::kUnmap;
    case kWriteSame10:
    case kWriteSame16:
      return CommandKind::kWriteSame;
    case kCompareAndWrite:
      return CommandKind::kCompareAndWrite;
    case kOrWrite16:
      return CommandKind::kOrWrite;
    case kPreFetch10:
    case kPreFetch16:
      return CommandKind::kPreFetch;
    case kServiceActionIn16:
      if (cdb.size() >= 2 && (byte_at(cdb, 1) & 0x1f) == kGetLbaStatusAction) {
        return CommandKind::kGetLbaStatus;
      }
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

// SPC-5 4.2.5.1: the group code in the top bits says how long a CDB is.
std::size_t cdb_bytes(uint8_t op_code) {
  switch (op_code >> 5) {
    case 0:
      return 6;
    case 1:
    case 2:
      return 10;
    case 4:
      return 16;
    default:
      return 12;
  }
}

void parse_address(ConstBytes cdb, Cdb& out) {
  switch (cdb_bytes(byte_at(cdb, 0))) {
    case 6:
      out.lba = be32(cdb, 0) & 0x1fffff;
      out.num_blocks = byte_at(cdb, 4) == 0 ? 256 : byte_at(cdb, 4);
      break;
    case 10:
      out.lba = be32(cdb, 2);
      out.num_blocks = be16(cdb, 7);
      break;
    case 12:
      out.lba = be32(cdb, 2);
      out.num_blocks = be32(cdb, 6);
      break;
    default:
      out.lba = be64(cdb, 2);
      out.num_blocks = be32(cdb, 10);
      break;
  }
}

}  // namespace

std::optional<Cdb> parse_cdb(ConstBytes cdb) {
  if (cdb.empty() || cdb.size() < cdb_bytes(byte_at(cdb, 0))) return std::nullopt;
  const auto kind = kind_of(cdb);
  if (!kind) return std::nullopt;
  Cdb out;
  out.kind = *kind;
  parse_address(cdb, out);
  const bool is_six = cdb_bytes(byte_at(cdb, 0)) == 6;
  const uint8_t bits = is_six ? 0 : byte_at(cdb, 1);
  const bool is_same_16 = byte_at(cdb, 0) == kWriteSame16;
  switch (*kind) {
    case CommandKind::kRead:
    case CommandKind::kWrite:
    case CommandKind::kOrWrite:
      out.protect = bits >> 5;
      out.fua = (bits & 0x08) != 0;
      break;
    case CommandKind::kCompareAndWrite:
      out.protect = bits >> 5;
      out.fua = (bits & 0x08) != 0;
      out.num_blocks = byte_at(cdb, 13);
      break;
    case CommandKind::kWriteAndVerify:
    case CommandKind::kVerify:
      out.protect = bits >> 5;
      out.byte_check = bits >> 1 & 3;
      break;
    case CommandKind::kWriteSame:
      out.protect = bits >> 5;
      out.anchor = (bits & 0x10) != 0;
      out.unmap = (bits & 0x08) != 0;
      out.obsolete_same = bits & 0x06;
      out.has_no_data_out = is_same_16 && (bits & 0x01) != 0;
      break;
    case CommandKind::kUnmap:
      out.lba = out.num_blocks = 0;
      out.anchor = (bits & 0x01) != 0;
      out.parameter_bytes = be16(cdb, 7);
      break;
    case CommandKind::kGetLbaStatus:
      out.num_blocks = 0;
      out.parameter_bytes = be32(cdb, 10);
      break;
    case CommandKind::kTestUnitReady:
    case CommandKind::kWriteBack:
      out.lba = out.num_blocks = 0;
      break;
    case CommandKind::kSynchronizeCache:
    case CommandKind::kPreFetch:
      break;
  }
  return out;
}

tl::expected<std::vector<LbaRange>, UnmapListError> parse_unmap_list(ConstBytes list,
                                                                     uint32_t parameter_bytes,
                                                                     uint32_t max_descriptors) {
  constexpr std::size_t kHeaderBytes = 8;
  constexpr std::size_t kDescriptorBytes = 16;
  std::vector<LbaRange> out;
  if (parameter_bytes == 0) return out;
  const std::size_t available = std::min<std::size_t>(parameter_bytes, list.size());
  if (available < kHeaderBytes) return tl::unexpected(UnmapListError::kLength);
  const std::size_t announced = be16(list, 2);
  const std::size_t count = std::min(announced, available - kHeaderBytes) / kDescriptorBytes;
  if (count > max_descriptors) return tl::unexpected(UnmapListError::kTooManyDescriptors);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = kHeaderBytes + i * kDescriptorBytes;
    const LbaRange range{be64(list, at), be32(list, at + 8)};
    if (range.num_blocks != 0) out.push_back(range);
  }
  return out;
}

}  // namespace lunar::bstore_plugin
