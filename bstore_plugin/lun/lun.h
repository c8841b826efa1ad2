// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <memory>
#include <string>

#include "bstore_plugin/lun/shared_cluster.h"
#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi/reach.h"
#include "bstore_plugin/scsi/scsi_command.h"
#include "gateway/image.h"

// A LUN as tgt knows it, from bs_init to bs_exit; open or closed in between. On tgtd's thread.
// Borrows the cluster, which is never destroyed. Its commands do not refer to it.
struct lunar_lun {
  void* lu = nullptr;  // tgt's struct scsi_lu
  lunar::bstore_plugin::BsOptions options;
  lunar::bstore_plugin::SharedCluster* cluster = nullptr;  // never null once created
  std::shared_ptr<lunar::gateway::Image> image;            // null while closed
  std::shared_ptr<lunar::bstore_plugin::Reach> reach;      // as image
  lunar::bstore_plugin::LunLimits limits;

  // 0, or -1 after a sentence; see lunar_lun_open().
  int open(const char* path, uint32_t block_bytes, lunar_lun_info& info);
  void close();
  void submit(const lunar_scsi_command& command);

 private:
  // Remembers the sentence; -1.
  int refuse(const std::string& sentence);
};
