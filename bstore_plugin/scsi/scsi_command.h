// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <optional>

#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi/cached_writes.h"
#include "bstore_plugin/scsi/cdb.h"
#include "bstore_plugin/scsi/lba_status.h"
#include "bstore_plugin/scsi/reach.h"
#include "bstore_plugin/scsi/sense.h"
#include "gateway/image.h"
#include "msgr/buffer.h"

namespace lunar::bstore_plugin {

class CommandTracker;

// What a LUN advertises and enforces. Immutable while open.
struct LunLimits {
  uint32_t block_shift = 9;
  uint32_t max_transfer_bytes = 32u << 20;
  uint32_t max_compare_and_write_bytes = 0;
  uint64_t max_unmap_bytes = 0;
  uint32_t max_unmap_descriptors = 256;
  uint64_t max_write_same_bytes = 0;
};

// One SCSI command from submit to completion: checks it against the LUN, turns it into image IO and
// the outcome into status and sense. Lives on tgtd's thread; owns itself from start() until tgt has
// been told. Holds the image, so that closing the LUN waits for nothing.
class ScsiCommand : public boost::intrusive::list_base_hook<> {
 public:
  // Ends later than the call. REQUIRES: none is null.
  static void start(CommandTracker& tracker, std::shared_ptr<gateway::Image> image,
                    std::shared_ptr<Reach> reach, std::shared_ptr<CachedWrites> cached,
                    const LunLimits& limits, const lunar_scsi_command& command);

  // The abort tick: cancels the IO once the initiator wants it.
  void cancel_if_aborted();
  // Tells tgt and deletes this. Only from an fd handler of tgtd.
  void complete();

 private:
  ScsiCommand(CommandTracker& tracker, std::shared_ptr<gateway::Image> image,
              std::shared_ptr<Reach> reach, std::shared_ptr<CachedWrites> cached,
              const LunLimits& limits, const lunar_scsi_command& command);

  void execute();
  void write_back();
  void carry_out();
  // Each refuses the command and returns false if something is not as it must be.
  bool check_range(uint64_t lba, uint64_t num_blocks);
  bool check_cdb();
  bool check_cdb_fields();
  bool changes_medium() const noexcept;
  bool must_write_back() const noexcept;
  uint64_t offset() const noexcept { return cdb_.lba << limits_.block_shift; }
  uint64_t length() const noexcept { return cdb_.num_blocks << limits_.block_shift; }
  gateway::IoOptions io_options() const;
  gateway::IoOptions io_options(const void* data) const;  // with the lease that `data` begins

  // Of what was sent for length() bytes, the whole blocks.
  uint64_t given_bytes() const noexcept;

  void test_unit_ready();
  void read();
  void read_stored();
  void write();
  void verify();
  void verify_next();
  void verify_bytes(uint64_t bytes);
  std::optional<uint64_t> first_difference(ConstBytes stored) const;
  void unmap();
  void write_same();
  void compare_and_write();
  void or_write();
  void lba_status();
  void ask_lba_status();
  void send_lba_status();

  // Ends the command with what the image said; transferred amounts are set beforehand.
  void finish_as(const gateway::IoResult& result);
  void finish_cancelled();
  void refuse(SenseKey key, Asc asc) { finish(check_condition(key, asc)); }
  void finish(Sense sense);
  void miscompare_at(uint64_t information);

  CommandTracker& tracker_;
  const std::shared_ptr<gateway::Image> image_;
  const std::shared_ptr<Reach> reach_;
  const std::shared_ptr<CachedWrites> cached_;
  const LunLimits limits_;
  const lunar_scsi_command command_;
  Cdb cdb_;
  uint64_t io_id_ = 0;
  bool ends_with_loss_ = false;  // result_ says kLostWrites
  bool has_failed_to_write_back_ = false;
  bool is_cancelled_ = false;
  bool is_finished_ = false;
  lunar_scsi_result result_{};
  msgr::RegisteredBuffer scratch_;               // VERIFY: the piece that is stored
  uint64_t verified_bytes_ = 0;                  // VERIFY: good so far
  uint32_t ranges_in_flight_ = 0;                // UNMAP
  gateway::IoResult joined_;                     // UNMAP: first error
  std::unique_ptr<LbaStatusAnswer> lba_status_;  // GET LBA STATUS: the answer so far
};

}  // namespace lunar::bstore_plugin
