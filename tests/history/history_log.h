// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "tests/history/history.h"

namespace lunar::test {

// A history on its way into a file, for programs that other programs judge: one line of text for
// each event, stamped by CLOCK_MONOTONIC, which all processes of a machine share. Several clients
// write several files, and read_histories() merges them. Appends to a file that is there.
//
//   lunar-history 1
//   NS i OP CLIENT COMMAND LBA BLOCKS FUA [w CONTENTS] [c CONTENTS]
//                                             a command begins; OP is unique in the file's section
//   NS c OP OUTCOME [r CONTENTS]              it ends; what a read found
//   NS x OP                                   its window closes
//   NS X CLIENT [WHY]                         those of all commands of a client
//   NS d CLIENT                               a client died
//   NS s SERVER LOSES                         a server crashed; 1: its cache is gone
//   NS p WHAT                                 power cut
//   NS b WHY, NS e                            losses are possible from here, until there
//   NS n TEXT                                 a note
//
// COMMAND is read, write, flush, discard, write_same, write_zeroes, compare_and_write or orwrite;
// OUTCOME good, failed, unknown, lost or miscompare. CONTENTS are numbers separated by commas,
// NUMBER*COUNT for several of the same. Each `lunar-history` line begins a new section.
// Not thread-safe.
class HistoryLog {
 public:
  using Handle = History::Handle;

  static Outcome<std::unique_ptr<HistoryLog>> create(const std::string& path);
  ~HistoryLog();
  HistoryLog(const HistoryLog&) = delete;
  HistoryLog& operator=(const HistoryLog&) = delete;

  // As the functions of History. The file has each event when the call returns.
  Handle invoke(int client, const HistoryOp& op);
  void complete(Handle handle, HistoryOutcome outcome, const std::vector<ContentId>& read = {});
  void close_window(Handle handle);
  void close_windows(int client, const std::string& why = "");
  void note(const std::string& text);

 private:
  explicit HistoryLog(std::FILE* file) : file_(file) {}
  void put(const std::string& text);

  std::FILE* file_;  // owned
  Handle next_ = 0;
  int64_t last_ns_ = 0;  // no two events of a file have the same time
};

// Reads files and merges them by time. A command's end that comes at the same time as another
// one's beginning counts as later. The error names file and line.
Outcome<History> read_histories(const std::vector<std::string>& paths);

}  // namespace lunar::test
