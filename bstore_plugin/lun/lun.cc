// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/lun.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "bstore_plugin/lun/backing_store.h"
#include "bstore_plugin/lun/last_error.h"
#include "bstore_plugin/scsi/scsi_command.h"
#include "common/log.h"
#include "gateway/image.h"
#include "gateway/image_opening.h"

namespace {

using lunar::failure;
using lunar::Outcome;
using lunar::bstore_plugin::kFileTimeout;
using lunar::bstore_plugin::parse_backing_store;
using lunar::bstore_plugin::SharedCluster;
using lunar::gateway::Image;
using lunar::gateway::ImageSpec;
using lunar::gateway::OpenOptions;

constexpr uint32_t kMaxTransferBytes = 16u << 20;
constexpr uint32_t kMaxUnmapDescriptors = 256;
constexpr uint32_t kMaxCompareAndWriteBlocks = 255;  // one byte in the CDB

// An image that comes after the timeout has nobody who holds it, and so gives up its lock.
Outcome<std::shared_ptr<Image>> open_image(SharedCluster& cluster, const ImageSpec& spec,
                                           const OpenOptions& options) {
  const auto timeout = cluster.config().get_duration("lunar_open_timeout");
  const auto opened = std::make_shared<std::optional<Outcome<std::shared_ptr<Image>>>>();
  lunar::gateway::open_image_when_mapped(
      cluster.client(), spec, options, timeout,
      [opened](Outcome<std::shared_ptr<Image>> image) { *opened = std::move(image); });
  if (cluster.run_until([opened] { return opened->has_value(); }, timeout)) {
    return std::move(**opened);
  }
  return failure(
      std::errc::timed_out,
      "the cluster did not answer within lunar_open_timeout; servers asked: mon_host = " +
          cluster.config().get_string("mon_host") + ". Are they up? Try 'lunar check " +
          spec.to_string() + "'");
}

void fill_info(const Image& image, const SharedCluster& cluster, uint32_t block_bytes,
               lunar_lun_info& info) {
  const auto& layout = image.layout();
  info = {};
  info.size = image.size();
  std::size_t at = 0;
  for (const char c : image.uuid().to_string()) {
    if (c != '-' && at + 1 < sizeof info.uuid_hex) info.uuid_hex[at++] = c;
  }
  uint64_t low = 0;
  for (std::size_t i = 8; i < lunar::Uuid::kBytes; ++i) {
    low = low << 8 | static_cast<uint8_t>(image.uuid().bytes[i]);
  }
  info.numeric_id = low & 0x0fffffffffffffff;
  // A stripe unit is a multiple of the block, so an aligned range of this size may still cross one;
  // that is refused, as documented. Blocks of one stripe unit at most.
  info.max_compare_and_write_bytes = static_cast<uint32_t>(
      std::min<uint64_t>(layout.stripe_unit, uint64_t{kMaxCompareAndWriteBlocks} * block_bytes));
  info.max_transfer_bytes = kMaxTransferBytes;
  info.max_unmap_bytes = cluster.config().get_size("lunar_max_unmap");
  info.max_unmap_descriptors = kMaxUnmapDescriptors;
  info.max_write_same_bytes = cluster.config().get_size("lunar_max_write_same");
  info.optimal_transfer_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(layout.object_size, kMaxTransferBytes));
}

}  // namespace

int lunar_lun::open(const char* path, uint32_t block_bytes, lunar_lun_info& info) {
  if (block_bytes < 512 || block_bytes > 4096) {
    return refuse("block size " + std::to_string(block_bytes) +
                  " is not supported: use 512 … 4096 bytes");
  }
  const auto spec = parse_backing_store(path == nullptr ? "" : path, options.pool, kFileTimeout);
  if (!spec) return refuse("backing store " + spec.error().message);
  auto opened = open_image(*cluster, *spec, {.lock = options.lock});
  if (!opened) return refuse("LUN " + spec->to_string() + ": " + opened.error().message);
  image = std::move(*opened);
  fill_info(*image, *cluster, block_bytes, info);

  reach = std::make_shared<lunar::bstore_plugin::Reach>(image);
  limits.block_shift = static_cast<uint32_t>(__builtin_ctz(block_bytes));
  limits.max_transfer_bytes = info.max_transfer_bytes;
  limits.max_compare_and_write_bytes = info.max_compare_and_write_bytes;
  limits.max_unmap_bytes = info.max_unmap_bytes;
  limits.max_unmap_descriptors = info.max_unmap_descriptors;
  limits.max_write_same_bytes = info.max_write_same_bytes;
  image->watch_size([this](uint64_t size) { cluster->host().resized(lu, size); });
  LUNAR_LOG(kTgt, 1, "LUN {} is open, {} bytes", spec->to_string(), info.size);
  return 0;
}

void lunar_lun::close() {
  if (image == nullptr) return;
  image->watch_size({});
  auto closing = std::move(image);
  image.reset();
  reach->end();
  reach.reset();
  closing->close([name = closing->spec().to_string()](const Outcome<void>& closed) {
    if (!closed) LUNAR_ERROR(kTgt, "closing LUN {}: {}", name, closed.error().message);
  });
}

void lunar_lun::submit(const lunar_scsi_command& command) {
  lunar::bstore_plugin::ScsiCommand::start(cluster->commands(), image, reach, limits, command);
}

int lunar_lun::refuse(const std::string& sentence) {
  lunar::bstore_plugin::remember_error(cluster->host(), sentence);
  return -1;
}
