// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/trace/recorder.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <regex>
#include <set>

#include "common/visible_text.h"

// Channels. --discard: when buffers are full the newest events are thrown away, counted, and the
// report says so; the programs never wait. 8 sub-buffers of 1 MiB per CPU hold about 80,000 events,
// so the consumer may be away for a while. Per-user buffers: all processes of a user share them.
// The snapshot mode overwrites the oldest instead.

namespace lunar::tools {
namespace {

struct FinishedCommand {
  int code = 0;
  std::string output;
};

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

Outcome<pid_t> spawn(const std::vector<std::string>& words, int output) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (output >= 0) {
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  }
  // The child gets signals as usual; what we wait for is blocked only here.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error =
      posix_spawnp(&pid, words.front().c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return pid;
  if (error == ENOENT && words.front() == "lttng") {
    return failure(system_error(error), "the program lttng is not there: install lttng-tools");
  }
  return failure(system_error(error),
                 words.front() + " cannot be started: " + system_error(error).message());
}

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Runs lttng to its end; its output is shown only if it fails.
Outcome<std::string> lttng(std::vector<std::string> words) {
  words.insert(words.begin(), "lttng");
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return failure(last_system_error(), "no pipe: " + last_system_error().message());
  }
  const auto pid = spawn(words, ends[1]);
  close(ends[1]);
  std::string output;
  if (pid) {
    // A session daemon that lttng starts keeps the pipe open: the end of lttng itself counts.
    int status = 0;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    std::array<char, 4096> received{};
    const auto drain = [&] {
      for (ssize_t got; (got = read(ends[0], received.data(), received.size())) > 0;) {
        output.append(received.data(), static_cast<std::size_t>(got));
      }
    };
    while (true) {
      drain();
      const pid_t ended = waitpid(*pid, &status, WNOHANG);
      if (ended == *pid) break;
      if (ended < 0 && errno != EINTR) break;
      const timespec pause{0, 5'000'000};
      nanosleep(&pause, nullptr);
    }
    drain();
    close(ends[0]);
    if (exit_code_of(status) == 0) return output;
    while (!output.empty() && output.back() == '\n') output.pop_back();
    return failure(std::errc::io_error, "'" + joined(words) + "' failed: " + output);
  }
  close(ends[0]);
  return failure(pid.error());
}

std::string stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm calendar{};
  localtime_r(&now, &calendar);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &calendar);
  return text;
}

// An lttng session that is destroyed with this object.
class LttngSession {
 public:
  LttngSession(std::string name, const RecordOptions& options, std::string output)
      : name_(std::move(name)), options_(options), output_(std::move(output)) {}
  ~LttngSession() {
    if (is_made_) static_cast<void>(lttng({"destroy", name_}));
  }
  LttngSession(const LttngSession&) = delete;

  Outcome<void> start() {
    std::vector<std::string> create = {"create", name_, "--output=" + output_};
    if (options_.is_snapshot) create.push_back("--snapshot");
    if (auto made = lttng(create); !made) return failure(made.error());
    is_made_ = true;
    std::vector<std::vector<std::string>> steps;
    steps.push_back({"enable-channel", "--userspace", "--session=" + name_, "--buffers-uid",
                     options_.is_snapshot ? "--overwrite" : "--discard",
                     "--subbuf-size=" + options_.subbuf_size,
                     "--num-subbuf=" + std::to_string(options_.num_subbuf), "lunar"});
    for (const std::string& events : options_.events) {
      steps.push_back(
          {"enable-event", "--userspace", "--session=" + name_, "--channel=lunar", events});
    }
    steps.push_back({"add-context", "--userspace", "--session=" + name_, "--channel=lunar",
                     "--type=vpid", "--type=procname"});
    steps.push_back({"start", name_});
    for (const auto& step : steps) {
      if (auto done = lttng(step); !done) return failure(done.error());
    }
    return {};
  }

  Outcome<void> stop() {
    std::vector<std::vector<std::string>> steps;
    if (options_.is_snapshot) steps.push_back({"snapshot", "record", "--session=" + name_});
    steps.push_back({"stop", name_});
    steps.push_back({"destroy", name_});
    for (const auto& step : steps) {
      if (auto done = lttng(step); !done) return failure(done.error());
    }
    is_made_ = false;
    return {};
  }

 private:
  const std::string name_;
  const RecordOptions& options_;
  const std::string output_;
  bool is_made_ = false;
};

// Who has our events, as the session daemon sees it: "tgtd (4711)".
std::set<std::string> registered() {
  std::set<std::string> found;
  const auto list = lttng({"list", "--userspace"});
  if (!list) return found;
  std::string program;
  static const std::regex pid_line(R"(PID: (\d+) - Name: (\S+))");
  for (std::size_t at = 0; at < list->size();) {
    const std::size_t end = std::min(list->find('\n', at), list->size());
    const std::string line = list->substr(at, end - at);
    std::smatch match;
    if (std::regex_search(line, match, pid_line)) {
      program = match[2].str() + " (" + match[1].str() + ")";
    } else if (line.find("lunar_") != std::string::npos && !program.empty()) {
      found.insert(program);
    }
    at = end + 1;
  }
  return found;
}

void say_who_is_recorded() {
  const std::set<std::string> programs = registered();
  if (!programs.empty()) {
    print_visible(stderr, "lunar-trace: recording");
    for (const std::string& each : programs) print_visible(stderr, " %s", each.c_str());
    print_visible(stderr, " and what is started from now on\n");
    return;
  }
  print_visible(
      stderr,
      "lunar-trace: no program of Lunar has registered with this session daemon yet. Programs of "
      "root report to root's daemon: record as root, or as a member of the group 'tracing'. "
      "$LTTNG_HOME must be the same here and there\n");
}

// Until a signal, the end of the time, or that of the command. Its exit code.
int wait_for_end(const sigset_t& signals, double seconds, pid_t command) {
  timespec begin{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  const auto passed = [&begin] {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec - begin.tv_sec) +
           static_cast<double>(now.tv_nsec - begin.tv_nsec) / 1e9;
  };
  int status = 0;
  bool asked_to_end = false;
  while (true) {
    if (command > 0 && waitpid(command, &status, WNOHANG) == command) return exit_code_of(status);
    const double left = seconds > 0 ? seconds - passed() : 3600;
    if (left <= 0 || (asked_to_end && command <= 0)) break;
    timespec limit{};
    limit.tv_sec = static_cast<std::time_t>(left);
    limit.tv_nsec = static_cast<long>((left - std::floor(left)) * 1e9);
    const int got = sigtimedwait(&signals, nullptr, &limit);
    if (got == SIGINT || got == SIGTERM) {
      if (asked_to_end) break;
      asked_to_end = true;
      if (command > 0) kill(command, got);
    }
  }
  if (command > 0) {
    kill(command, SIGTERM);
    waitpid(command, &status, 0);
    return exit_code_of(status);
  }
  return 0;
}

}  // namespace

Outcome<int> record(const RecordOptions& options) {
  namespace fs = std::filesystem;
  const std::string name = "lunar-" + stamp() + "-" + std::to_string(getpid());
  const std::string output =
      fs::absolute(options.output.empty() ? "lunar-trace-" + stamp() : options.output).string();
  std::error_code error;
  if (fs::exists(output, error) && !fs::is_empty(output, error)) {
    return failure(std::errc::file_exists, output + " is there already, and not empty");
  }
  sigset_t signals;
  sigemptyset(&signals);
  for (const int each : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&signals, each);
  sigprocmask(SIG_BLOCK, &signals, nullptr);

  LttngSession session(name, options, output);
  if (auto started = session.start(); !started) return failure(started.error());
  say_who_is_recorded();
  pid_t command = -1;
  if (!options.command.empty()) {
    const auto pid = spawn(options.command, -1);
    if (!pid) return failure(pid.error());
    command = *pid;
  } else {
    print_visible(stderr, "lunar-trace: recording to %s; Ctrl-C ends it\n", output.c_str());
  }
  const int code = wait_for_end(signals, options.seconds, command);
  if (auto stopped = session.stop(); !stopped) return failure(stopped.error());
  print_visible(stderr, "lunar-trace: recorded; see: lunar-trace report %s\n", output.c_str());
  return code;
}

}  // namespace lunar::tools
