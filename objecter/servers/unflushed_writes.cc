// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/unflushed_writes.h"

namespace lunar::objecter {

void UnflushedWrites::on_write(ImageId id, uint64_t verifier) {
  const auto [at, is_first] = images_.try_emplace(id);
  UnflushedImage& image = at->second;
  if (!is_first && image.verifier != verifier) image.is_lost = true;
  image.verifier = verifier;
  image.last = ++acknowledged_;
}

bool UnflushedWrites::on_flush(ImageId id, uint64_t verifier, uint64_t mark) {
  const auto at = images_.find(id);
  if (at == images_.end()) return false;
  UnflushedImage& image = at->second;
  const bool is_lost = image.is_lost || image.verifier != verifier;
  on_loss_reported(id, verifier, mark);
  return is_lost;
}

void UnflushedWrites::on_loss_reported(ImageId id, uint64_t verifier, uint64_t mark) {
  const auto at = images_.find(id);
  if (at == images_.end()) return;
  at->second.is_lost = false;
  at->second.verifier = verifier;
  if (at->second.last <= mark) images_.erase(at);
}

}  // namespace lunar::objecter
