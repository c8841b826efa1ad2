// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <csignal>
#include <string>

#include "common/result.h"

namespace lunar::tools {

// While it lives, SIGINT, SIGTERM and SIGHUP only set a flag: for commands that leave something
// behind if they just end. A second signal ends the program at once. One at a time; not where a
// thread blocks these signals.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();  // what was received stays known
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // The number of the signal; 0 if there was none. Any thread.
  static int received() noexcept;
  static bool has_received() noexcept { return received() != 0; }
  // "interrupted by SIGINT". REQUIRES: has_received().
  static Error error();
  // Why something, such as "export", did not come to its end: that, or the code's own reason.
  static Error error_of(const std::string& what, std::error_code code);

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[3];  // of each of them
};

}  // namespace lunar::tools
