// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "bstore_plugin/lun/lun_opening.h"
#include "bstore_plugin/lun/shared_cluster.h"
#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi/cached_writes.h"
#include "bstore_plugin/scsi/reach.h"
#include "bstore_plugin/scsi/scsi_command.h"
#include "bstore_plugin/scsi/sense.h"
#include "gateway/image.h"

// A LUN as tgt knows it, from bs_init to bs_exit; its image is opened and closed in between. On
// tgtd's thread. Borrows the cluster, which is never destroyed. Its commands do not refer to it.
struct lunar_lun {
  void* lu = nullptr;  // tgt's struct scsi_lu
  lunar::bstore_plugin::BsOptions options;
  lunar::bstore_plugin::SharedCluster* cluster = nullptr;  // never null once created

  // See lunar_lun_open().
  lunar_open_outcome open(const char* path, uint32_t block_bytes, lunar_lun_info& info);
  void close();
  // None while the image is open; else what commands are refused with, NOT READY.
  lunar::bstore_plugin::Asc unready() const noexcept;
  // REQUIRES: unready() is none.
  void submit(const lunar_scsi_command& command);
  // See lunar_lun_write_back().
  void write_back();

 private:
  void on_opened(lunar::bstore_plugin::LunOpening::ImageOutcome opened);
  void serve(std::shared_ptr<lunar::gateway::Image> opened);
  // Remembers the sentence.
  lunar_open_outcome refuse(const std::string& sentence);

  std::string name_;  // POOL/IMAGE, from open() on
  uint32_t block_bytes_ = 0;
  lunar_lun_info info_{};  // of image_
  // At most one of these three is set; none while the LUN is closed.
  std::shared_ptr<lunar::bstore_plugin::LunOpening> opening_;
  std::shared_ptr<lunar::gateway::Image> image_;
  std::string failure_;      // why it was not opened
  bool is_in_open_ = false;  // open() hears of the outcome, and tgt of it by open()
  std::shared_ptr<lunar::bstore_plugin::Reach> reach_;          // null if image_ is
  std::shared_ptr<lunar::bstore_plugin::CachedWrites> cached_;  // null if image_ is
  lunar::bstore_plugin::LunLimits limits_;
};
