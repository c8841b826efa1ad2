// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/lun_opening.h"

#include <utility>

#include "bstore_plugin/lun/last_error.h"
#include "bstore_plugin/scsi/sense.h"
#include "gateway/image_opening.h"
#include "msgr/errors.h"
#include "objecter/protocol/types.h"

namespace lunar::bstore_plugin {
namespace {

constexpr std::chrono::seconds kTryAgain{1};

// Trying again may help. An image that is locked, and a pool that tgtadm could name wrongly, are
// not among that: somebody has to decide.
bool may_pass(const std::error_code& error, bool is_waited_for) {
  if (error == objecter::OsdErrc::kNoSuchPool) return !is_waited_for;  // the map may be an old one
  return is_unanswered(error) || error == objecter::OsdErrc::kShutdown ||
         error == objecter::OsdErrc::kUnknownOutcome;
}

// A mistake of whoever waits for tgtadm, though it can be mended later.
bool is_refusal(const std::error_code& error) {
  return error == msgr::MsgrErrc::kAuthFailed || error == msgr::MsgrErrc::kFeatureMismatch;
}

}  // namespace

LunOpening::LunOpening(SharedCluster& cluster, gateway::ImageSpec spec,
                       gateway::OpenOptions options)
    : cluster_(cluster),
      spec_(std::move(spec)),
      options_(options),
      wait_(cluster.overdue_openings() > 0 ? std::chrono::nanoseconds(0)
                                           : cluster.config().get_duration("lunar_lun_open_wait")) {
  options_.is_unwanted = is_unwanted_;
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
  if (has_ended_) return;
  *is_unwanted_ = true;
  settle();
}

void LunOpening::settle() {
  has_ended_ = true;
  cluster_.center().cancel(std::exchange(retry_, msgr::TimerId::kNone));
  if (std::exchange(is_overdue_, false)) cluster_.count_overdue_opening(-1);
}

void LunOpening::try_once(std::chrono::nanoseconds patience) {
  cluster_.wait_for_client(patience,
                           [self = shared_from_this(), patience](const Outcome<void>& ready) {
                             if (self->has_ended_) return;
                             if (!ready) return self->on_tried(failure(ready.error()));
                             gateway::open_image_when_mapped(
                                 self->cluster_.client(), self->spec_, self->options_, patience,
                                 [self](ImageOutcome image) { self->on_tried(std::move(image)); });
                           });
}

void LunOpening::on_tried(ImageOutcome image) {
  if (has_ended_) return;
  const std::error_code error = image ? std::error_code() : image.error().code;
  if (error && may_pass(error, is_waited_for_) && !(is_refusal(error) && is_waited_for_)) {
    tell(image.error().message);
    retry_ = cluster_.center().run_after(kTryAgain, [self = shared_from_this()] {
      self->retry_ = msgr::TimerId::kNone;
      self->try_once(self->cluster_.config().get_duration("lunar_open_timeout"));
    });
    return;
  }
  settle();
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
