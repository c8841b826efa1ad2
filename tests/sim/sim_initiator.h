// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "bstore_plugin/plugin_api.h"
#include "common/bytes.h"
#include "tests/history/history.h"

// What an initiator like Linux's sends for a command, and what it makes of status and sense.
namespace lunar::sim {

inline constexpr std::size_t kBlockBytes = 4096;  // of the LUN

// A block with this content: a number that says all of it, so that a mixture is noticed.
void fill_block(Bytes block, test::ContentId id);
test::ContentId content_of(ConstBytes block);

struct ScsiRequest {
  std::array<uint8_t, 16> cdb{};
  std::vector<std::byte> data_out;
  std::size_t data_in_bytes = 0;
};
// `variant` chooses among the forms of a command, by its bits. Pure.
ScsiRequest request_of(const test::HistoryOp& op, uint64_t variant);

// Nothing: it sends the command again. `is_aborted`: it wanted the command ended, and hears no
// status. `is_last`: it has sent it often enough. Pure.
std::optional<test::HistoryOutcome> outcome_of(const test::HistoryOp& op,
                                               const lunar_scsi_result& result, bool is_aborted,
                                               bool is_last);

}  // namespace lunar::sim
