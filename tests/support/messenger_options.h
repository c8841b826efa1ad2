// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/messenger.h"

namespace lunar::test {

// The default options of a messenger, but for authentication, which they require by default.
inline msgr::MessengerOptions without_authentication() {
  msgr::MessengerOptions options;
  options.auth_required = false;
  return options;
}

}  // namespace lunar::test
