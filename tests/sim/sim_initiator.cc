// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_initiator.h"

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstring>

#include "bstore_plugin/scsi/sense.h"
#include "common/check.h"

namespace lunar::sim {
namespace {

using bstore_plugin::Asc;
using bstore_plugin::ScsiStatus;
using bstore_plugin::SenseKey;
using test::HistoryCommand;
using test::HistoryOp;
using test::HistoryOutcome;

constexpr uint8_t kFua = 0x08;
constexpr uint8_t kByteCheck = 0x02;  // BYTCHK = 1
constexpr uint8_t kNoDataOut = 0x01;  // NDOB

// SBC-4: LBA at byte 2, number of blocks at byte 10.
void put_16(ScsiRequest& request, uint8_t op_code, uint8_t bits, const HistoryOp& op) {
  request.cdb[0] = op_code;
  request.cdb[1] = bits;
  boost::endian::store_big_u64(&request.cdb[2], op.lba);
  boost::endian::store_big_u32(&request.cdb[10], op.num_blocks);
}
// LBA at byte 2, number of blocks at byte 7.
void put_10(ScsiRequest& request, uint8_t op_code, uint8_t bits, const HistoryOp& op) {
  request.cdb[0] = op_code;
  request.cdb[1] = bits;
  boost::endian::store_big_u32(&request.cdb[2], static_cast<uint32_t>(op.lba));
  boost::endian::store_big_u16(&request.cdb[7], static_cast<uint16_t>(op.num_blocks));
}

void add_blocks(ScsiRequest& request, const std::vector<test::ContentId>& ids) {
  for (const test::ContentId id : ids) {
    request.data_out.resize(request.data_out.size() + kBlockBytes);
    fill_block(Bytes(request.data_out).last(kBlockBytes), id);
  }
}

// SBC-4 5.35.2. In one descriptor, or in two.
void add_unmap_list(ScsiRequest& request, const HistoryOp& op, bool in_two) {
  constexpr std::size_t kHeader = 8;
  constexpr std::size_t kDescriptor = 16;
  const uint32_t first = in_two ? op.num_blocks / 2 : op.num_blocks;
  const std::size_t descriptors = first == op.num_blocks ? 1 : 2;
  request.data_out.resize(kHeader + descriptors * kDescriptor);
  auto* const list = reinterpret_cast<unsigned char*>(request.data_out.data());
  const auto bytes = static_cast<uint16_t>(descriptors * kDescriptor);
  boost::endian::store_big_u16(list, static_cast<uint16_t>(bytes + kHeader - 2));
  boost::endian::store_big_u16(list + 2, bytes);
  boost::endian::store_big_u64(list + kHeader, op.lba);
  boost::endian::store_big_u32(list + kHeader + 8, first);
  if (descriptors == 2) {
    boost::endian::store_big_u64(list + kHeader + kDescriptor, op.lba + first);
    boost::endian::store_big_u32(list + kHeader + kDescriptor + 8, op.num_blocks - first);
  }
  request.cdb[0] = 0x42;
  boost::endian::store_big_u16(&request.cdb[7], static_cast<uint16_t>(request.data_out.size()));
}

}  // namespace

void fill_block(Bytes block, test::ContentId id) {
  for (std::size_t i = 0; i < block.size(); i += sizeof id) {
    const uint64_t word = id == 0 ? 0 : id * 0x9e3779b97f4a7c15U + i;
    std::memcpy(block.data() + i, i == 0 ? &id : &word, sizeof id);
  }
}

test::ContentId content_of(ConstBytes block) {
  test::ContentId id = 0;
  std::memcpy(&id, block.data(), sizeof id);
  std::array<std::byte, kBlockBytes> whole;
  fill_block(whole, id);
  return std::memcmp(whole.data(), block.data(), block.size()) == 0 ? id : test::kDamagedContent;
}

ScsiRequest request_of(const HistoryOp& op, uint64_t variant) {
  const bool is_short = (variant & 1) != 0;
  const bool is_other = (variant & 6) == 0;  // a quarter
  const uint8_t fua = op.fua ? kFua : 0;
  ScsiRequest request;
  switch (op.command) {
    case HistoryCommand::kRead: {
      const uint8_t bits = is_other ? kFua : 0;
      is_short ? put_10(request, 0x28, bits, op) : put_16(request, 0x88, bits, op);
      request.data_in_bytes = op.num_blocks * kBlockBytes;
      break;
    }
    case HistoryCommand::kWrite:
      if (op.fua && is_other) {  // WRITE AND VERIFY
        put_16(request, 0x8e, is_short ? kByteCheck : 0, op);
      } else {
        is_short ? put_10(request, 0x2a, fua, op) : put_16(request, 0x8a, fua, op);
      }
      add_blocks(request, op.ids);
      break;
    case HistoryCommand::kFlush:
      is_short ? put_10(request, 0x35, 0, op) : put_16(request, 0x91, 0, op);
      break;
    case HistoryCommand::kDiscard:
      add_unmap_list(request, op, is_other);
      break;
    case HistoryCommand::kWriteZeroes:
      put_16(request, 0x93, is_other ? kNoDataOut : 0, op);
      if (!is_other) request.data_out.resize(kBlockBytes);
      break;
    case HistoryCommand::kWriteSame:
      put_16(request, 0x93, 0, op);
      add_blocks(request, op.ids);
      break;
    case HistoryCommand::kCompareAndWrite:
      put_16(request, 0x89, fua, op);
      boost::endian::store_big_u32(&request.cdb[10], 0);
      request.cdb[13] = static_cast<uint8_t>(op.num_blocks);
      add_blocks(request, op.compared);
      add_blocks(request, op.ids);
      break;
    case HistoryCommand::kOrwrite:
      LUNAR_CHECK(false, "not of this workload");
  }
  return request;
}

std::optional<HistoryOutcome> outcome_of(const HistoryOp& op, const lunar_scsi_result& result,
                                         bool is_aborted, bool is_last) {
  const bool is_change =
      op.command != HistoryCommand::kRead && op.command != HistoryCommand::kFlush;
  const bool is_compared = op.command == HistoryCommand::kCompareAndWrite;
  const HistoryOutcome bad = is_change ? HistoryOutcome::kUnknown : HistoryOutcome::kFailed;
  const auto again = is_last ? std::optional(bad) : std::nullopt;
  if (is_aborted) return is_compared ? std::optional(bad) : again;
  switch (static_cast<ScsiStatus>(result.status)) {
    case ScsiStatus::kGood:
      return HistoryOutcome::kGood;
    case ScsiStatus::kBusy:
      return again;
    case ScsiStatus::kTaskAborted:
      return bad;
    case ScsiStatus::kCheckCondition:
      break;
  }
  switch (static_cast<SenseKey>(result.sense_key)) {
    case SenseKey::kMiscompare:  // of WRITE AND VERIFY: somebody else wrote in between
      return is_compared ? HistoryOutcome::kMiscompare : bad;
    case SenseKey::kAbortedCommand:
      return again;
    case SenseKey::kMediumError: {
      const bool tells_loss = op.command == HistoryCommand::kFlush &&
                              result.asc_ascq == static_cast<uint16_t>(Asc::kWriteError);
      return tells_loss ? HistoryOutcome::kReportedLost : bad;
    }
    case SenseKey::kIllegalRequest:
      return HistoryOutcome::kFailed;
    default:
      return bad;
  }
}

}  // namespace lunar::sim
