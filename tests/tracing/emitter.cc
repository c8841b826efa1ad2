// SPDX-License-Identifier: LGPL-2.1-or-later
// A program with the probes linked in, as lunar-osd has them.

#include "tests/tracing/emit_all.h"

int main() {
  lunar_emit_all_events();
  return 0;
}
