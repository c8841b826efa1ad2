// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/lun_opening.h"

#include <utility>

#include "bstore_plugin/lun/last_error.h"
#include "bstore_plugin/scsi/sense.h"
#include "gateway/image_opening.h"
#include "msgr/errors.h"

namespace lunar::bstore_plugin {
namespace {

constexpr std::chrono::seconds kTryAgain{1};

}  // namespace

LunOpening::LunOpening(SharedCluster& cluster, gateway::ImageSpec spec,
                       gateway::OpenOptions options)
    : cluster_(cluster),
      spec_(std::move(spec)),
      options_(options),
      wait_(cluster.overdue_openings() > 0 ? std::chrono::nanoseconds(0)
                                           : cluster.config().get_duration("lunar_lun_open_wait")) {
}

void LunOpening::start(UniqueFunction<void(ImageOutcome)> done) {
  done_ = std::move(done);
  // So that the reason why there is no map comes while tgtadm waits.
  const std::chrono::nanoseconds patience = wait_ * 3 / 4;
  try_once(patience.count() > 0 ? patience : cluster_.config().get_duration("lunar_open_timeout"));
}

bool LunOpening::wait() {
  cluster_.run_until([this] { return has_ended_; }, wait_);
  is_waited_for_ = false;
  if (has_ended_) return true;
  is_overdue_ = true;
  cluster_.count_overdue_opening(1);
  if (told_.empty()) tell("the servers have not answered yet");
  return false;
}

void LunOpening::end() {
  if (std::exchange(has_ended_, true)) return;
  cluster_.center().cancel(std::exchange(retry_, msgr::TimerId::kNone));
  if (std::exchange(is_overdue_, false)) cluster_.count_overdue_opening(-1);
}

void LunOpening::try_once(std::chrono::nanoseconds patience) {
  cluster_.wait_for_client(patience,
                           [self = shared_from_this(), patience](const Outcome<void>& ready) {
                             if (!ready) return self->on_tried(failure(ready.error()));
                             gateway::open_image_when_mapped(
                                 self->cluster_.client(), self->spec_, self->options_, patience,
                                 [self](ImageOutcome image) { self->on_tried(std::move(image)); });
                           });
}

void LunOpening::on_tried(ImageOutcome image) {
  if (has_ended_) return;
  // A key that is refused can be mended later, but is a mistake of whoever waits for tgtadm.
  const bool is_wrong_key = !image && image.error().code == msgr::MsgrErrc::kAuthFailed;
  if (!image && is_unanswered(image.error().code) && !(is_wrong_key && is_waited_for_)) {
    tell(image.error().message);
    retry_ = cluster_.center().run_after(kTryAgain, [self = shared_from_this()] {
      self->retry_ = msgr::TimerId::kNone;
      self->try_once(self->cluster_.config().get_duration("lunar_open_timeout"));
    });
    return;
  }
  end();
  std::exchange(done_, {})(std::move(image));
}

void LunOpening::tell(const std::string& reason) {
  if (told_ == reason) return;
  told_ = reason;
  remember_error(cluster_.host(), "LUN " + spec_.to_string() +
                                      " is NOT READY until it is open, which is tried again and "
                                      "again: " +
                                      reason);
}

}  // namespace lunar::bstore_plugin
