// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <csignal>

namespace lunar {

// Blocks all signals on this thread for a scope, and restores its mask at the end. A thread started
// meanwhile inherits the mask, and so never takes a signal that is meant for the program that hosts
// us (tgtd, which handles SIGTERM in its main thread). Each thread of ours is started in such a
// scope. Loop-bound: constructed and destroyed on one thread.
class BlockAllSignals {
 public:
  BlockAllSignals() noexcept;  // pthread_sigmask(3), which does not fail with these arguments
  ~BlockAllSignals();
  BlockAllSignals(const BlockAllSignals&) = delete;
  BlockAllSignals& operator=(const BlockAllSignals&) = delete;

 private:
  sigset_t saved_;  // the mask before
};

// Names the calling thread for ps, gdb and traces: "lunar-msgr-0". The kernel keeps 15 bytes;
// longer names are cut.
void name_this_thread(const char* name) noexcept;

}  // namespace lunar
