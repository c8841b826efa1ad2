// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/stop_signals.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace lunar::tools {
namespace {

std::atomic<int> received_signal{0};
static_assert(std::atomic<int>::is_always_lock_free, "it is set in a signal handler");

void on_stop_signal(int number) {
  const int saved = errno;
  received_signal = number;
  static constexpr char kSaid[] = "lunar: cleaning up; once more ends it at once\n";
  static_cast<void>(!write(STDERR_FILENO, kSaid, sizeof kSaid - 1));
  errno = saved;
}

}  // namespace

StopSignals::StopSignals() {
  struct sigaction stop {};
  stop.sa_handler = on_stop_signal;
  stop.sa_flags = SA_RESETHAND;
  sigemptyset(&stop.sa_mask);
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler == SIG_IGN) continue;  // nohup, or a shell's background job
    sigaction(kSignals[i], &stop, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < std::size(kSignals); ++i) {
    sigaction(kSignals[i], &before_[i], nullptr);
  }
}

int StopSignals::received() noexcept { return received_signal; }

Error StopSignals::error() {
  const char* name = sigabbrev_np(received());
  return {make_error_code(std::errc::interrupted),
          std::string("interrupted by SIG") + (name != nullptr ? name : "?")};
}

Error StopSignals::error_of(const std::string& what, std::error_code code) {
  if (!has_received()) return {code, what + " failed: " + code.message()};
  Error interrupted = error();
  interrupted.message = what + " " + interrupted.message;
  return interrupted;
}

}  // namespace lunar::tools
