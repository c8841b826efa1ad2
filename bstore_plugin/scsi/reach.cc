// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/scsi/reach.h"

#include <algorithm>
#include <utility>

#include "bstore_plugin/scsi/sense.h"

namespace lunar::bstore_plugin {

Reach::Reach(std::shared_ptr<gateway::Image> image) : image_(std::move(image)) {}

void Reach::end() {
  if (image_ != nullptr && is_asking_) image_->cancel(io_id_);
  image_.reset();
}

void Reach::on_io(const std::error_code& error, uint64_t offset, uint64_t length) {
  if (image_ == nullptr) return;
  if (!error && !is_reached_ && length > 0 && offset < end_ && begin_ < offset + length) regain();
  if (!is_unanswered(error) || !is_reached_) return;
  is_reached_ = false;
  begin_ = next_ = offset;
  end_ = offset + std::max<uint64_t>(length, 1);
  ask();
}

bool Reach::is_reached() {
  if (!is_reached_ && !is_asking_) {
    next_ = begin_;
    asked_ = 0;
    ask();
  }
  return is_reached_;
}

void Reach::regain() {
  const uint64_t asked = std::exchange(io_id_, 0);
  if (std::exchange(is_asking_, false)) image_->cancel(asked);
  is_reached_ = true;
  asked_ = 0;
}

void Reach::ask() {
  if (image_ == nullptr || next_ >= std::min(end_, image_->size()) || asked_ == kMaxAsked) {
    is_reached_ = true;
    asked_ = 0;
    return;
  }
  ++asked_;
  is_asking_ = true;
  io_id_ = image_->client().next_io_id();
  image_->allocation_at(
      next_, io_id_,
      [self = shared_from_this(), id = io_id_](Result<gateway::Image::Allocation> found) {
        if (self->io_id_ != id) return;  // known without it by now
        self->is_asking_ = false;
        if (!found && is_unanswered(found.error())) return;
        // Any other error is an answer.
        self->next_ = found ? self->next_ + found->length : self->end_;
        self->ask();
      });
}

}  // namespace lunar::bstore_plugin
