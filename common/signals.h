// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <csignal>

namespace lunar {

// Blocks all signals on this thread for a scope. A thread started in it inherits the mask, and so
// never takes a signal that is meant for the host program (tgtd).
class BlockAllSignals {
 public:
  BlockAllSignals() noexcept;
  ~BlockAllSignals();
  BlockAllSignals(const BlockAllSignals&) = delete;
  BlockAllSignals& operator=(const BlockAllSignals&) = delete;

 private:
  sigset_t saved_;
};

// Names the calling thread (at most 15 characters are kept): "lunar-msgr-0".
void name_this_thread(const char* name) noexcept;

}  // namespace lunar
