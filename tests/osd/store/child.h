// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <vector>

namespace lunar::osd::test {

struct ChildResult {
  int exit_status = -1;  // 128 + signal if it was killed
  std::string output;
};
// Runs this program again as `scenario(arguments…)` of child.cc, a process that may die in the
// middle of a call or have mounts of its own.
ChildResult run_child(const std::string& scenario, const std::vector<std::string>& arguments);

constexpr int kDiedOnPurpose = 17;

}  // namespace lunar::osd::test
