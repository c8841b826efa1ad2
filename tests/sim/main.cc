// SPDX-License-Identifier: LGPL-2.1-or-later
//
// lunar-sim: runs simulated clusters, each in a process of its own.

#include <fmt/core.h>
#include <poll.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/result.h"
#include "tests/sim/sim_run.h"

namespace {

using namespace lunar;
using namespace lunar::sim;
namespace fs = std::filesystem;

// A folder for the stores of all runs, removed with all that is in it, whatever a run left there.
class RunFolders {
 public:
  explicit RunFolders(const fs::path& parent) {
    std::string name = (parent / "lunar-sim-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      fmt::print(stderr,
                 "lunar-sim: cannot make a folder in {}: {}; choose another with --folder\n",
                 parent.string(), system_error(errno).message());
      std::exit(2);
    }
    root_ = name;
  }
  ~RunFolders() { remove(root_); }
  RunFolders(const RunFolders&) = delete;

  fs::path make() {
    fs::path folder = root_ / std::to_string(next_++);
    fs::create_directory(folder);
    return folder;
  }
  static void remove(const fs::path& folder) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }

 private:
  fs::path root_;
  uint64_t next_ = 0;
};

struct Options {
  uint64_t seed = 0;
  uint64_t runs = 1;
  double time = 0;
  unsigned jobs = 1;
  bool is_twice = false;
  bool is_shrinking = false;
  RunOptions run;  // without a seed and a folder: each run has its own
  RunFolders* folders = nullptr;
};

// What the child tells: a line of numbers, the faults, the script.
struct Told {
  bool is_finished = false;
  uint64_t hash = 0;
  double simulated = 0;
  uint64_t commands = 0;
  uint64_t turns = 0;
  uint64_t undecided = 0;
  std::vector<std::string> faults;
  Script script;
};

struct Job {
  fs::path folder;
  pid_t pid = -1;
  int fd = -1;
  uint64_t seed = 0;
  unsigned round = 0;
  std::string text;
};

// Where a run logs that is not verbose: its log is of use only if it dies.
fs::path log_of(const fs::path& folder) { return folder / "log"; }

[[noreturn]] void run_child(const RunOptions& options, int out) {
  if (!options.is_verbose && std::freopen(log_of(options.folder).c_str(), "w", stderr) == nullptr) {
    _exit(2);
  }
  const RunResult result = run_once(options);
  std::string text = fmt::format("result {} {} {} {} {}\n", result.trace_hash,
                                 std::chrono::duration<double>(result.simulated).count(),
                                 result.commands, result.turns, result.undecided);
  for (const Fault& fault : result.script) text += "script " + fault.to_string() + "\n";
  for (std::string fault : result.faults) {
    for (std::size_t at = 0; (at = fault.find('\n', at)) != std::string::npos; at += 8)
      fault.replace(at, 1, "\nfault   ");
    text += "fault " + fault + "\n";
  }
  text += "end\n";
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(out, text.data() + at, text.size() - at);
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  std::fflush(stdout);
  _exit(0);
}

Job start(RunFolders& folders, const RunOptions& options, uint64_t seed, unsigned round) {
  std::fflush(stdout);
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  Job job;
  job.folder = folders.make();
  job.seed = seed;
  job.round = round;
  job.pid = ::fork();
  if (job.pid == 0) {
    ::close(ends[0]);
    RunOptions child = options;
    child.seed = seed;
    child.folder = job.folder;
    run_child(child, ends[1]);
  }
  ::close(ends[1]);
  job.fd = ends[0];
  return job;
}

std::vector<std::string> last_lines(const fs::path& file, std::size_t most) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (lines.size() == most) lines.erase(lines.begin());
    lines.push_back(std::move(line));
  }
  return lines;
}

Told parse(const Job& job, int status) {
  Told told;
  std::size_t at = 0;
  while (at < job.text.size()) {
    const std::size_t end = job.text.find('\n', at);
    const std::string line = job.text.substr(at, end - at);
    at = end == std::string::npos ? job.text.size() : end + 1;
    if (line.starts_with("result ")) {
      std::sscanf(line.c_str(), "result %lu %lf %lu %lu %lu", &told.hash, &told.simulated,
                  &told.commands, &told.turns, &told.undecided);
    } else if (line.starts_with("script ")) {
      if (auto fault = Fault::parse(line.substr(7))) told.script.push_back(*fault);
    } else if (line.starts_with("fault ")) {
      told.faults.push_back(line.substr(6));
    } else if (line == "end") {
      told.is_finished = true;
    }
  }
  if (!told.is_finished) {
    told.faults.push_back(WIFSIGNALED(status)
                              ? fmt::format("the run died of signal {}", WTERMSIG(status))
                              : fmt::format("the run ended with {}", WEXITSTATUS(status)));
    for (std::string& line : last_lines(log_of(job.folder), 30)) {
      told.faults.push_back("log: " + std::move(line));
    }
  }
  return told;
}

// Waits for one of the jobs to end and takes it out.
std::pair<Job, Told> wait_for_one(std::vector<Job>& jobs) {
  for (;;) {
    std::vector<pollfd> fds;
    for (const Job& job : jobs) fds.push_back({job.fd, POLLIN, 0});
    ::poll(fds.data(), fds.size(), -1);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (fds[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t n = ::read(jobs[i].fd, buffer, sizeof buffer);
      if (n > 0) {
        jobs[i].text.append(buffer, static_cast<std::size_t>(n));
        continue;
      }
      Job job = std::move(jobs[i]);
      jobs.erase(jobs.begin() + static_cast<std::ptrdiff_t>(i));
      ::close(job.fd);
      int status = 0;
      ::waitpid(job.pid, &status, 0);
      Told told = parse(job, status);
      RunFolders::remove(job.folder);
      return {std::move(job), std::move(told)};
    }
  }
}

Told run_alone(RunFolders& folders, const RunOptions& options, uint64_t seed) {
  std::vector<Job> jobs;
  jobs.push_back(start(folders, options, seed, 0));
  return wait_for_one(jobs).second;
}

// Fewer faults, as long as something is wrong.
Script shrink(RunFolders& folders, const RunOptions& options, uint64_t seed, Script script) {
  for (std::size_t step = std::max<std::size_t>(1, script.size() / 2);; step /= 2) {
    for (std::size_t at = 0; at < script.size();) {
      RunOptions smaller = options;
      smaller.has_script = true;
      smaller.script = script;
      const auto from = smaller.script.begin() + static_cast<std::ptrdiff_t>(at);
      smaller.script.erase(
          from, from + static_cast<std::ptrdiff_t>(std::min(step, smaller.script.size() - at)));
      if (run_alone(folders, smaller, seed).faults.empty())
        at += step;
      else
        script = smaller.script;
    }
    if (step <= 1) return script;
  }
}

void report(const Options& options, uint64_t seed, const Told& told) {
  fmt::print("seed {}: WRONG\n", seed);
  for (const std::string& fault : told.faults) fmt::print("  {}\n", fault);
  Script script = told.script;
  RunOptions as_was = options.run;
  as_was.is_verbose = false;
  // A run from a script is another run than that which made the script.
  as_was.has_script = true;
  as_was.script = script;
  if (options.is_shrinking && !run_alone(*options.folders, as_was, seed).faults.empty()) {
    script = shrink(*options.folders, as_was, seed, script);
  }
  fmt::print("  faults of the run:\n");
  for (const Fault& fault : script) fmt::print("    {}\n", fault.to_string());
  std::fflush(stdout);
}

int run_all(const Options& options) {
  const auto began = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  };
  std::vector<Job> jobs;
  std::map<uint64_t, uint64_t> hashes;  // with --twice
  uint64_t next = 0;
  uint64_t finished = 0;
  uint64_t wrong = 0;
  uint64_t commands = 0;
  uint64_t turns = 0;
  uint64_t undecided = 0;
  double simulated = 0;
  const unsigned rounds = options.is_twice ? 2 : 1;
  for (;;) {
    const bool is_over =
        options.time > 0 ? seconds() > options.time : next >= options.runs * rounds;
    if (!is_over && jobs.size() < options.jobs) {
      jobs.push_back(start(*options.folders, options.run, options.seed + next / rounds,
                           static_cast<unsigned>(next % rounds)));
      ++next;
      continue;
    }
    if (jobs.empty()) break;
    const auto [job, told] = wait_for_one(jobs);
    ++finished;
    commands += told.commands;
    turns += told.turns;
    undecided += told.undecided;
    simulated += told.simulated;
    if (!told.faults.empty()) {
      ++wrong;
      if (job.round == 0) report(options, job.seed, told);
    }
    if (options.is_twice) {
      const auto [known, is_first] = hashes.emplace(job.seed, told.hash);
      if (!is_first && known->second != told.hash) {
        ++wrong;
        fmt::print("seed {}: two runs differ: {:x} and {:x}\n", job.seed, known->second, told.hash);
      }
    }
  }
  fmt::print(
      "{} runs from seed {}, {} wrong; {} commands, {} turns, {} blocks not judged; "
      "{:.0f} s simulated in {:.1f} s, {:.0f} times real time\n",
      finished, options.seed, wrong, commands, turns, undecided, simulated, seconds(),
      simulated / seconds());
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  // A run must not depend on where memory lies.
  const int persona = ::personality(0xffffffff);
  if ((persona & ADDR_NO_RANDOMIZE) == 0 && std::getenv("LUNAR_SIM_RANDOMIZED") == nullptr) {
    ::personality(static_cast<unsigned long>(persona) | ADDR_NO_RANDOMIZE);
    ::setenv("LUNAR_SIM_RANDOMIZED", "1", 1);
    ::execv("/proc/self/exe", argv);
  }
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);

  Options options;
  options.seed = random_u64() % 1'000'000'000;
  std::string script;
  fs::path folder = fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
  CLI::App app(
      "lunar-sim: simulated clusters, each run from its seed. Ends with 0 if none went wrong.");
  app.add_option("--seed", options.seed,
                 "of the first run; the others have N+1, N+2 … (default: by chance, printed)");
  app.add_option("--runs", options.runs, "how many (default 1)");
  app.add_option("--time", options.time, "as many as fit into so many seconds")->excludes("--runs");
  app.add_option("--jobs", options.jobs, "how many at the same time (default 1)")
      ->check(CLI::Range(1, 256));
  app.add_option_function<long>(
         "--length",
         [&options](long seconds) { options.run.length = std::chrono::seconds(seconds); },
         "simulated seconds of load under faults (default 60)")
      ->check(CLI::Range(1L, 86'400L));
  app.add_option("--script", script,
                 "the faults, one a line: MILLISECONDS KIND TARGET LENGTH_MS COUNT")
      ->check(CLI::ExistingFile);
  app.add_option("--folder", folder,
                 "where the stores are while a run lasts (default: in memory, /dev/shm)")
      ->check(CLI::ExistingDirectory);
  app.add_flag("--verbose", options.run.is_verbose, "say what happens, with the log");
  app.add_flag("--twice", options.is_twice, "each run twice: both must be the same");
  app.add_flag("--shrink", options.is_shrinking,
               "take faults out of the script of a run that failed, as long as it fails");
  CLI11_PARSE(app, argc, argv);
  if (!script.empty()) {
    auto faults = read_script(script);
    if (!faults) {
      fmt::print(stderr, "lunar-sim: {}\n", faults.error().message);
      return 2;
    }
    options.run.has_script = true;
    options.run.script = std::move(*faults);
  }
  RunFolders folders(folder);
  options.folders = &folders;
  return run_all(options);
}
