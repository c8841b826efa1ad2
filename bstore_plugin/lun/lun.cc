// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/lun.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "bstore_plugin/lun/backing_store.h"
#include "bstore_plugin/lun/last_error.h"
#include "bstore_plugin/scsi/scsi_command.h"
#include "common/log.h"
#include "gateway/image.h"

namespace {

using lunar::Outcome;
using lunar::bstore_plugin::Asc;
using lunar::bstore_plugin::kFileTimeout;
using lunar::bstore_plugin::LunOpening;
using lunar::bstore_plugin::parse_backing_store;
using lunar::bstore_plugin::remember_error;
using lunar::bstore_plugin::SharedCluster;
using lunar::gateway::Image;
using lunar::gateway::OpenOptions;

constexpr uint32_t kMaxTransferBytes = 32u << 20;
constexpr uint32_t kMaxOpBytes = 16u << 20;  // what a server reads or writes for one op
constexpr uint32_t kMaxUnmapDescriptors = 256;
constexpr uint32_t kMaxCompareAndWriteBlocks = 255;  // one byte in the CDB

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
  // One op is for one stripe unit at most.
  info.max_transfer_bytes = layout.stripe_unit <= kMaxOpBytes ? kMaxTransferBytes : kMaxOpBytes;
  info.max_unmap_bytes = cluster.config().get_size("lunar_max_unmap");
  info.max_unmap_descriptors = kMaxUnmapDescriptors;
  info.max_write_same_bytes = cluster.config().get_size("lunar_max_write_same");
  info.optimal_transfer_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(layout.object_size, info.max_transfer_bytes));
}

}  // namespace

lunar_open_outcome lunar_lun::open(const char* path, uint32_t block_bytes, lunar_lun_info& info) {
  close();  // a media changer opens what it could not
  if (block_bytes < 512 || block_bytes > 4096) {
    return refuse("block size " + std::to_string(block_bytes) +
                  " is not supported: use 512 … 4096 bytes");
  }
  const auto spec = parse_backing_store(path == nullptr ? "" : path, options.pool, kFileTimeout);
  if (!spec) return refuse("backing store " + spec.error().message);
  name_ = spec->to_string();
  block_bytes_ = block_bytes;
  opening_ = std::make_shared<LunOpening>(*cluster, *spec, OpenOptions{.lock = options.lock});
  is_in_open_ = true;
  const std::shared_ptr<LunOpening> begun = opening_;
  begun->start([this](LunOpening::ImageOutcome opened) { on_opened(std::move(opened)); });
  const bool has_ended = begun->wait();
  is_in_open_ = false;
  if (!has_ended) return LUNAR_OPEN_LATER;
  if (image_ == nullptr) return refuse(std::exchange(failure_, {}));
  info = info_;
  info.size = image_->size();  // it may have been resized meanwhile
  return LUNAR_OPEN_DONE;
}

void lunar_lun::on_opened(LunOpening::ImageOutcome opened) {
  opening_.reset();
  if (opened) {
    serve(std::move(*opened));
    if (!is_in_open_) cluster->host().opened(lu, &info_);
  } else {
    failure_ = "LUN " + name_ + ": " + opened.error().message;
    if (!is_in_open_) {
      remember_error(cluster->host(),
                     failure_ + "; it stays NOT READY: mend that, and make the LUN anew");
    }
  }
}

void lunar_lun::serve(std::shared_ptr<Image> opened) {
  image_ = std::move(opened);
  fill_info(*image_, *cluster, block_bytes_, info_);
  reach_ = std::make_shared<lunar::bstore_plugin::Reach>(image_);
  cached_ = std::make_shared<lunar::bstore_plugin::CachedWrites>();
  limits_.block_shift = static_cast<uint32_t>(__builtin_ctz(block_bytes_));
  limits_.max_transfer_bytes = info_.max_transfer_bytes;
  limits_.max_compare_and_write_bytes = info_.max_compare_and_write_bytes;
  limits_.max_unmap_bytes = info_.max_unmap_bytes;
  limits_.max_unmap_descriptors = info_.max_unmap_descriptors;
  limits_.max_write_same_bytes = info_.max_write_same_bytes;
  image_->watch_size([this](uint64_t size) { cluster->host().resized(lu, size); });
  LUNAR_LOG(kTgt, 1, "LUN {} is open, {} bytes", name_, info_.size);
}

void lunar_lun::close() {
  failure_.clear();
  if (opening_ != nullptr) std::exchange(opening_, nullptr)->end();
  if (image_ == nullptr) return;
  image_->watch_size({});
  auto closing = std::exchange(image_, nullptr);
  std::exchange(reach_, nullptr)->end();
  cached_.reset();
  closing->close([name = name_](const Outcome<void>& closed) {
    if (!closed) LUNAR_ERROR(kTgt, "closing LUN {}: {}", name, closed.error().message);
  });
}

Asc lunar_lun::unready() const noexcept {
  if (image_ != nullptr) return Asc::kNone;
  if (opening_ != nullptr) return Asc::kBecomingReady;
  return failure_.empty() ? Asc::kNotReadyCauseNotReportable : Asc::kManualInterventionRequired;
}

void lunar_lun::submit(const lunar_scsi_command& command) {
  lunar::bstore_plugin::ScsiCommand::start(cluster->commands(), image_, reach_, cached_, limits_,
                                           command);
}

// Nobody waits for its end, so a loss is left for a command to tell, and so is a failure: the next
// change of the medium writes back first.
void lunar_lun::write_back() {
  if (image_ == nullptr || cached_->are_written_back()) return;
  image_->write_back({}, [image = image_, cached = cached_,
                          last = cached_->last()](const lunar::gateway::IoResult& result) {
    if (result.error == lunar::objecter::OsdErrc::kLostWrites) image->on_loss_unheard();
    if (!result.error) return cached->on_written_back(last);
    LUNAR_ERROR(kTgt, "LUN {}: writing back what was written with its cache on: {}",
                image->spec().to_string(), result.error.message());
  });
}

lunar_open_outcome lunar_lun::refuse(const std::string& sentence) {
  remember_error(cluster->host(), sentence);
  return LUNAR_OPEN_REFUSED;
}
