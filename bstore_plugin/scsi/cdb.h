// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"

namespace lunar::bstore_plugin {

// What a SCSI block command asks for; several op codes come to one.
enum class CommandKind : uint8_t {
  kRead,
  kWrite,
  kWriteAndVerify,
  kVerify,
  kSynchronizeCache,
  kUnmap,
  kWriteSame,
  kCompareAndWrite,
  kOrWrite,
  kPreFetch,
  kGetLbaStatus,
  kTestUnitReady,
  kWriteBack,  // MODE SELECT, START STOP UNIT: what of them is left after tgt's part
};

// A parsed CDB. SBC-4 clause 5. A value.
struct Cdb {
  CommandKind kind = CommandKind::kRead;
  uint64_t lba = 0;
  uint64_t num_blocks = 0;  // READ(6)'s 0 is 256 here; others as they are
  bool fua = false;
  bool unmap = false;            // WRITE SAME
  bool anchor = false;           // WRITE SAME, UNMAP: refused
  bool has_no_data_out = false;  // WRITE SAME(16) NDOB
  uint8_t byte_check = 0;        // VERIFY, WRITE AND VERIFY: BYTCHK
  uint8_t protect = 0;           // RDPROTECT, WRPROTECT, VRPROTECT: refused unless 0
  uint8_t obsolete_same = 0;     // WRITE SAME: PBDATA, LBDATA; refused
  uint32_t parameter_bytes = 0;  // UNMAP: list length; GET LBA STATUS: allocation length
};

// Nothing for an op code that is not one of ours, or a CDB shorter than its op code says.
std::optional<Cdb> parse_cdb(ConstBytes cdb);

struct LbaRange {
  uint64_t lba = 0;
  uint64_t num_blocks = 0;
};
enum class UnmapListError { kLength, kTooManyDescriptors };
// The block descriptors of an UNMAP parameter list (SBC-4 5.35.2), empty ones left out. `list` is
// what arrived, `parameter_bytes` what the CDB announced.
tl::expected<std::vector<LbaRange>, UnmapListError> parse_unmap_list(ConstBytes list,
                                                                     uint32_t parameter_bytes,
                                                                     uint32_t max_descriptors);

}  // namespace lunar::bstore_plugin
