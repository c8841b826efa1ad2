// SPDX-License-Identifier: LGPL-2.1-or-later
// history-check FILE...: judges histories of one block device that real programs wrote, merged by
// their times. Ends with 0 if they are clean, 1 if not, 2 if they cannot be read.
#include <cstdio>
#include <string>
#include <vector>

#include "tests/history/history_checker.h"
#include "tests/history/history_log.h"

int main(int argc, char** argv) {
  const std::vector<std::string> paths(argv + 1, argv + argc);
  if (paths.empty()) {
    std::fprintf(stderr, "usage: history-check FILE...\n");
    return 2;
  }
  const auto history = lunar::test::read_histories(paths);
  if (!history) {
    std::fprintf(stderr, "history-check: %s\n", history.error().message.c_str());
    return 2;
  }
  const lunar::test::HistoryVerdict verdict = lunar::test::judge(*history);
  std::printf("%s, %zu commands\n", verdict.to_string().c_str(), history->ops().size());
  return verdict.is_clean() ? 0 : 1;
}
