// SPDX-License-Identifier: LGPL-2.1-or-later
//
// lunar-sim: runs simulated clusters, each in a process of its own.

#include <fmt/core.h>
#include <poll.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/random.h"
#include "tests/sim/sim_run.h"

namespace {

using namespace lunar;
using namespace lunar::sim;
namespace fs = std::filesystem;

constexpr const char* kUsage = R"(lunar-sim: simulated clusters, each run from its seed

  lunar-sim [--seed N] [--runs N | --time SECONDS] [--jobs N] [--length SECONDS]
            [--script FILE] [--verbose] [--twice] [--shrink]

  --seed N      of the first run; the others have N+1, N+2 … (default: by chance, printed)
  --runs N      how many (default 1); --time S: as many as fit into S seconds
  --jobs N      how many at the same time (default 1)
  --length S    simulated seconds of load under faults (default 60)
  --script FILE the faults, one a line: MILLISECONDS KIND TARGET LENGTH_MS COUNT
  --within-objects  no command goes to two servers: without it, about one run in 250 shows that the
                loss of a part of a command in flight is not always told (docs/durability.md)
  --twice       each run twice: both must be the same
  --shrink      takes faults out of the script of a run that failed, as long as it fails
The exit code is 0 if nothing was wrong.
)";

struct Options {
  uint64_t seed = 0;
  uint64_t runs = 1;
  double time = 0;
  unsigned jobs = 1;
  bool is_twice = false;
  bool is_shrinking = false;
  RunOptions run;
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
  pid_t pid = -1;
  int fd = -1;
  uint64_t seed = 0;
  unsigned round = 0;
  std::string text;
};

[[noreturn]] void run_child(RunOptions options, int out) {
  char folder[] = "/dev/shm/lunar-sim-XXXXXX";
  if (::mkdtemp(folder) == nullptr) _exit(3);
  options.folder = folder;
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
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  std::fflush(stdout);
  _exit(0);
}

Job start(const RunOptions& options, uint64_t seed, unsigned round) {
  std::fflush(stdout);
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  Job job;
  job.seed = seed;
  job.round = round;
  job.pid = ::fork();
  if (job.pid == 0) {
    ::close(ends[0]);
    RunOptions child = options;
    child.seed = seed;
    run_child(std::move(child), ends[1]);
  }
  ::close(ends[1]);
  job.fd = ends[0];
  return job;
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
      return {std::move(job), std::move(told)};
    }
  }
}

Told run_alone(const RunOptions& options, uint64_t seed) {
  std::vector<Job> jobs;
  jobs.push_back(start(options, seed, 0));
  return wait_for_one(jobs).second;
}

// Fewer faults, as long as something is wrong.
Script shrink(const RunOptions& options, uint64_t seed, Script script) {
  for (std::size_t step = std::max<std::size_t>(1, script.size() / 2);; step /= 2) {
    for (std::size_t at = 0; at < script.size();) {
      RunOptions smaller = options;
      smaller.has_script = true;
      smaller.script = script;
      const auto from = smaller.script.begin() + static_cast<std::ptrdiff_t>(at);
      smaller.script.erase(
          from, from + static_cast<std::ptrdiff_t>(std::min(step, smaller.script.size() - at)));
      if (run_alone(smaller, seed).faults.empty())
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
  if (options.is_shrinking && !run_alone(as_was, seed).faults.empty()) {
    script = shrink(as_was, seed, script);
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
      jobs.push_back(
          start(options.run, options.seed + next / rounds, static_cast<unsigned>(next % rounds)));
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
      "{} runs from seed {}, {} wrong; {} commands, {} turns, {} blocks not judged; {:.0f} s "
      "simulated "
      "in {:.1f} s, {:.0f} times real time\n",
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
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 < argc) return argv[++i];
      fmt::print(stderr, "{}", kUsage);
      std::exit(2);
    };
    if (name == "--seed") {
      options.seed = std::strtoull(value(), nullptr, 10);
    } else if (name == "--runs") {
      options.runs = std::strtoull(value(), nullptr, 10);
    } else if (name == "--time") {
      options.time = std::strtod(value(), nullptr);
    } else if (name == "--jobs") {
      options.jobs = static_cast<unsigned>(std::strtoul(value(), nullptr, 10));
    } else if (name == "--length") {
      options.run.length = std::chrono::seconds(std::strtol(value(), nullptr, 10));
    } else if (name == "--script") {
      std::ifstream file(value());
      options.run.has_script = true;
      for (std::string line; std::getline(file, line);) {
        if (line.empty() || line[0] == '#') continue;
        const auto fault = Fault::parse(line);
        if (!fault) {
          fmt::print(stderr, "lunar-sim: this is no fault: {}\n", line);
          return 2;
        }
        options.run.script.push_back(*fault);
      }
    } else if (name == "--within-objects") {
      options.run.stays_within_objects = true;
    } else if (name == "--verbose") {
      options.run.is_verbose = true;
    } else if (name == "--twice") {
      options.is_twice = true;
    } else if (name == "--shrink") {
      options.is_shrinking = true;
    } else {
      fmt::print(stderr, "{}", kUsage);
      return name == "--help" ? 0 : 2;
    }
  }
  return run_all(options);
}
