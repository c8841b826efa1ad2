// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/tgt_version.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "common/file.h"

extern char** environ;

namespace lunar::bstore_plugin {
namespace {

// What `tgtd -V` prints, without the end of line. Empty if it could not be run.
std::string running_version() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {};
  UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  // In the child /proc/self is the child: name this process.
  const std::string program = "/proc/" + std::to_string(getpid()) + "/exe";
  std::string name = "tgtd", flag = "-V";
  char* const arguments[] = {name.data(), flag.data(), nullptr};
  char* const environment[] = {nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  pid_t child = 0;
  const int failed =
      posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environment);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return {};
  writer.reset();
  std::string text;
  char read_bytes[64];
  ssize_t got = 0;
  while (text.size() < 256 && (got = read(reader.get(), read_bytes, sizeof read_bytes)) > 0) {
    text.append(read_bytes, static_cast<std::size_t>(got));
  }
  reader.reset();
  int status = 0;
  waitpid(child, &status, 0);
  return text.substr(0, text.find_first_of("\r\n"));
}

}  // namespace

Outcome<void> check_tgt_version(const std::string& built_for) {
  const std::string running = running_version();
  if (running == built_for) return {};
  return failure(std::errc::not_supported,
                 "bs_lunar.so was built for tgt " + built_for + " and this tgtd says it is '" +
                     running +
                     "': rebuild against its headers, or set lunar_tgt_version_check = "
                     "warn if you know that they agree");
}

}  // namespace lunar::bstore_plugin
