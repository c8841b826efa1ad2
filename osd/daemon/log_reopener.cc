// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/daemon/log_reopener.h"

#include <memory>
#include <system_error>
#include <utility>

#include "common/log.h"
#include "common/signals.h"

namespace lunar::osd {

LogReopener::~LogReopener() {
  if (thread_.joinable()) thread_.join();
}

void LogReopener::reopen(Done done) {
  waiting_.push_back(std::move(done));
  if (promised_.empty()) start();
}

void LogReopener::start() {
  promised_ = std::exchange(waiting_, {});
  const BlockAllSignals blocked;
  try {
    thread_ = std::thread([&center = center_, self = std::weak_ptr(self_)] {
      name_this_thread("lunar-log-open");
      auto opened = std::make_unique<Outcome<void>>(log_reopen());
      center.post([self, opened = std::move(opened)] {
        if (const auto alive = self.lock()) (*alive)->finish(*opened);
      });
    });
  } catch (const std::system_error& error) {  // no thread to be had now
    center_.post([self = std::weak_ptr(self_), code = error.code()] {
      if (const auto alive = self.lock())
        (*alive)->finish(failure(code, "the log file cannot be opened again: " + code.message()));
    });
  }
}

void LogReopener::finish(const Outcome<void>& opened) {
  if (thread_.joinable()) thread_.join();
  for (Done& done : std::exchange(promised_, {})) done(opened);
  if (!waiting_.empty() && promised_.empty()) start();
}

}  // namespace lunar::osd
