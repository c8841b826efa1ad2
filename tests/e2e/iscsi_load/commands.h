// SPDX-License-Identifier: LGPL-2.1-or-later
// The cmd mode: one SCSI command, and its answer as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/e2e/iscsi_load/session.h"

namespace lunar::iscsi_load {

struct CommandOptions {
  std::string name;                    // "inquiry", "read", …: see command_names()
  std::vector<std::string> arguments;  // "vpd 0xb0", "reset lun", "raw HEX"
  uint64_t lba = 0;
  uint64_t num_blocks = 1;
  uint32_t block_bytes = 512;
  std::optional<uint64_t> in_bytes;  // raw: bytes to read back
  std::string pattern;               // "0x5a", "zero", "gen:SEED:GENERATION"
  std::string expect;                // caw: pattern to compare with
  std::string in_file, out_file;     // files with data to send, and for data received
  bool fua = false;
  bool unmap_bit = false;
};

std::string command_names();

// Runs it over a session of its own. Prints JSON to standard output. Returns the exit code: 0 for
// GOOD, 1 for another answer, 2 if there was no answer or the options are wrong.
int run_command(const Endpoint& endpoint, const SessionOptions& session_options,
                const CommandOptions& options);

}  // namespace lunar::iscsi_load
