// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/signals.h"

#include <pthread.h>

#include <cstring>

namespace lunar {

BlockAllSignals::BlockAllSignals() noexcept {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &saved_);
}

BlockAllSignals::~BlockAllSignals() { pthread_sigmask(SIG_SETMASK, &saved_, nullptr); }

void name_this_thread(const char* name) noexcept {
  char short_name[16] = {};
  std::strncpy(short_name, name, sizeof short_name - 1);
  pthread_setname_np(pthread_self(), short_name);
}

}  // namespace lunar
