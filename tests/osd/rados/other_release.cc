// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A module of the store of rados that is of another release than the programs of this build.
#include <cstdlib>

#include "osd/rados/rados_client.h"

extern "C" {
__attribute__((visibility("default"))) extern const char lunar_rados_release[] = "0.0.1";

__attribute__((visibility("default"))) lunar::osd::RadosClient* lunar_rados_connect(
    const lunar::osd::RadosOptions&, lunar::osd::RadosRefusal&) {
  std::abort();  // nobody calls what may have changed since
}
}
