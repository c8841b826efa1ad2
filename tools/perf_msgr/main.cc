// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar-perf-msgr: what the messenger and its transports can do, between two processes.
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "common/file.h"
#include "common/program.h"
#include "common/signals.h"
#include "common/size_parse.h"
#include "common/visible_text.h"
#include "tools/perf_msgr/report.h"
#include "tools/perf_msgr/server.h"

namespace lunar::perf_msgr {
namespace {

constexpr int kFailed = 1;
constexpr int kUsageError = 2;

struct Arguments {
  std::string format = "plain";
  std::string type;  // empty: what the configuration says
  std::string level = "messenger";
  uint32_t threads = 1;
  // server
  std::string bind = "127.0.0.1:0";
  // client
  std::vector<std::string> servers;
  uint64_t bytes = 4096;
  uint64_t reply_bytes = 0;
  uint32_t depth = 1;
  uint32_t connections = 1;
  uint64_t ops = 0;
  double seconds = 5;
  double warmup = 0.5;
  uint32_t busy_poll_us = 0;
  std::string one_sided;
  bool crossover = false;
  bool idle = false;
  uint64_t cycles = 0;
  CrossoverOptions range;
};

int complain(int status, const std::string& sentence) {
  print_visible(stderr, "lunar-perf-msgr: %s\n", sentence.c_str());
  return status;
}

// What every connection of this process needs, and what that borrows.
class Setup {
 public:
  static Outcome<std::unique_ptr<Setup>> make(Program& program, const Arguments& arguments) {
    const Config& config = program.config();
    auto messenger = msgr::MessengerOptions::from_config(config);
    if (!messenger) return failure(messenger.error());
    std::unique_ptr<Setup> setup(new Setup);
    setup->messenger_ = std::move(*messenger);
    if (setup->messenger_.auth_required && arguments.level == "messenger") {
      auto keyring = Keyring::load(config.get_string("keyring"));
      if (!keyring) return failure(keyring.error());
      setup->keyring_ = std::move(*keyring);
    }
    auto stack = msgr::make_network_stack(config, &program.perf());
    if (!stack) return failure(stack.error());
    setup->stack_ = std::move(*stack);
    setup->environment_.emplace(Environment{*setup->stack_, setup->messenger_,
                                            setup->keyring_ ? &*setup->keyring_ : nullptr,
                                            program.perf()});
    return setup;
  }
  const Environment& environment() const { return *environment_; }

 private:
  Setup() = default;
  msgr::MessengerOptions messenger_;
  std::optional<Keyring> keyring_;
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::optional<Environment> environment_;
};

// --- server

struct ServerThread {
  std::unique_ptr<msgr::EventCenter> center;
  std::unique_ptr<Server> server;
};

Outcome<std::vector<ServerThread>> make_servers(const Environment& environment,
                                                const Arguments& arguments) {
  auto address = msgr::Address::parse(arguments.bind);
  if (!address) return failure(address.error());
  const auto make = arguments.level == "link" ? make_link_server : make_messenger_server;
  std::vector<ServerThread> threads;
  for (uint32_t i = 0; i < arguments.threads; ++i) {
    auto center = msgr::EventCenter::create(
        {.name = "perf-server", .busy_poll = std::chrono::microseconds(arguments.busy_poll_us)});
    if (!center) return failure(center.error(), "cannot make an event loop");
    auto server = make(**center, environment, *address);
    if (!server) return failure(server.error());
    threads.push_back({std::move(*center), std::move(*server)});
    if (address->port() != 0) address->set_port(static_cast<uint16_t>(address->port() + 1));
  }
  return threads;
}

// Until SIGTERM or SIGINT.
Outcome<void> serve(std::vector<ServerThread>& threads, int signals) {
  const auto end_all = [&threads](msgr::FdEvents) {
    for (ServerThread& each : threads) {
      each.center->post([&each] { each.server->shutdown([&each] { each.center->stop(); }); });
    }
  };
  ServerThread& first = threads.front();
  auto watch = first.center->watch(signals, msgr::FdEvents::kRead, [&](msgr::FdEvents events) {
    signalfd_siginfo info{};
    if (::read(signals, &info, sizeof info) == sizeof info) end_all(events);
  });
  if (!watch) return failure(watch.error(), "cannot wait for signals");
  std::vector<std::jthread> others;
  {
    const BlockAllSignals blocked;
    for (std::size_t i = 1; i < threads.size(); ++i) {
      others.emplace_back([&each = threads[i]] {
        each.center->adopt_thread();
        each.center->run();
      });
    }
  }
  first.center->run();
  others.clear();
  for (ServerThread& each : threads) {
    each.center->adopt_thread();
    each.server.reset();
  }
  return {};
}

int run_server(Program& program, const Arguments& arguments) {
  auto setup = Setup::make(program, arguments);
  if (!setup) return complain(kFailed, setup.error().message);
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  const UniqueFd signals(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
  auto threads = make_servers((*setup)->environment(), arguments);
  if (!threads) return complain(kFailed, threads.error().message);
  std::string addresses;
  for (const ServerThread& each : *threads) addresses += " " + each.server->address().to_string();
  print_visible(stdout, "listening on%s\n", addresses.c_str());
  std::fflush(stdout);
  const auto served = serve(*threads, signals.get());
  return served ? 0 : complain(kFailed, served.error().message);
}

// --- client

Outcome<LoadOptions> load_options(const Arguments& arguments) {
  LoadOptions options;
  options.level = arguments.level == "link" ? Level::kLink : Level::kMessenger;
  for (const std::string& text : arguments.servers) {
    const auto address = msgr::Address::parse(text);
    if (!address) return failure(address.error());
    options.servers.push_back(*address);
  }
  options.connections = arguments.connections;
  options.threads = std::min(arguments.threads, arguments.connections);
  options.ops = arguments.ops;
  const auto seconds = [](double value) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(value));
  };
  options.duration = seconds(arguments.seconds);
  options.warmup = seconds(arguments.warmup);
  options.busy_poll = std::chrono::microseconds(arguments.busy_poll_us);
  options.job.depth = arguments.depth;
  options.job.bytes = static_cast<uint32_t>(std::min<uint64_t>(arguments.bytes, UINT32_MAX));
  options.job.reply_bytes =
      static_cast<uint32_t>(std::min<uint64_t>(arguments.reply_bytes, UINT32_MAX));
  for (const Pattern pattern : {Pattern::kRead, Pattern::kWrite, Pattern::kPull, Pattern::kPush}) {
    if (arguments.one_sided == name_of(pattern)) options.job.pattern = pattern;
  }
  if ((is_one_sided(options.job.pattern) || arguments.crossover) && options.level != Level::kLink) {
    return failure(std::errc::invalid_argument,
                   "one-sided ops are measured on links: add --level link, at the server too");
  }
  if (const auto problem = options.job.problem()) {
    return failure(std::errc::invalid_argument, *problem);
  }
  return options;
}

Outcome<std::string> idle(const Environment& environment, const LoadOptions& options, bool json) {
  std::string text;
  const Memory before = memory_of_this_process();
  const auto held = hold_connections(environment, options, [&](msgr::EventCenter& center) {
    text = describe_idle(options.connections, before, memory_of_this_process(), json);
    print_visible(stdout, "%s", text.c_str());
    std::fflush(stdout);
    center.run_after(options.duration, [&center] { center.stop(); });
    center.run();
  });
  if (!held) return failure(held.error());
  return std::string();  // it has been printed
}

Outcome<std::string> measure(Program& program, const Environment& environment,
                             const Arguments& arguments) {
  auto options = load_options(arguments);
  if (!options) return failure(options.error());
  const bool json = arguments.format == "json";
  if (arguments.crossover) {
    const auto crossover = find_crossover(environment, *options, arguments.range);
    if (!crossover) return failure(crossover.error());
    return describe(*crossover, options->servers.front().to_string(), json);
  }
  if (arguments.idle) return idle(environment, *options, json);
  if (arguments.cycles != 0) {
    const Memory before = memory_of_this_process();
    auto report = run_cycles(environment, *options, arguments.cycles);
    if (!report) return failure(report.error());
    return describe_cycles(*report, before, memory_of_this_process(), json);
  }
  auto report = run_load(environment, *options);
  if (!report) return failure(report.error());
  return describe(*options, program.config().get_string("ms_type"), *report, json);
}

int run_client(Program& program, const Arguments& arguments) {
  auto setup = Setup::make(program, arguments);
  if (!setup) return complain(kFailed, setup.error().message);
  const auto text = measure(program, (*setup)->environment(), arguments);
  if (!text) {
    const bool usage = text.error().code == std::errc::invalid_argument;
    return complain(usage ? kUsageError : kFailed, text.error().message);
  }
  print_visible(stdout, "%s", text->c_str());
  return 0;
}

// --- command line

template <typename T>
void add_size(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  app.add_option_function<std::string>(
         name,
         [&value, name](const std::string& text) {
           const auto bytes = parse_size(text);
           if (!bytes || *bytes > Job::kMaxBytes) {
             throw CLI::ValidationError(name,
                                        "'" + text + "' is no size up to 16M; write 4096 or 64K");
           }
           value = static_cast<T>(*bytes);
         },
         help)
      ->type_name("SIZE");
}

void add_common(CLI::App& app, Arguments& arguments) {
  app.add_option("--type", arguments.type,
                 "transport that is measured; without it, ms_type of the configuration")
      ->check(CLI::IsMember({"posix", "rdma", "local"}));
  app.add_option(
         "--level", arguments.level,
         "what is measured: sessions (messenger) or bare links; client and server need equal ones")
      ->check(CLI::IsMember({"messenger", "link"}));
  app.add_option("--threads", arguments.threads, "number of event loops, each with a thread")
      ->check(CLI::Range(1, 64));
  app.add_option("--busy-poll", arguments.busy_poll_us,
                 "microseconds that an idle loop polls before it sleeps");
}

void add_client(CLI::App& app, Arguments& arguments) {
  app.add_option("server", arguments.servers, "ADDRESS:PORT of each of the server's loops")
      ->required();
  add_size(app, "--size", arguments.bytes, "bytes of a message, or of a one-sided transfer");
  add_size(app, "--reply-size", arguments.reply_bytes, "bytes of the server's reply");
  app.add_option("--depth", arguments.depth, "number of ops in flight on each connection")
      ->check(CLI::Range(1u, Job::kMaxDepth));
  app.add_option("--connections", arguments.connections,
                 "number of connections, over all event loops")
      ->check(CLI::Range(1, 4096));
  app.add_option("--seconds", arguments.seconds, "length of the measurement in seconds")
      ->check(CLI::Range(0.01, 86400.0));
  app.add_option("--ops", arguments.ops, "number of ops to measure, instead of a time");
  app.add_option("--warmup", arguments.warmup,
                 "seconds of load before the measurement, which are not counted")
      ->check(CLI::Range(0.0, 3600.0));
  auto* one_sided =
      app.add_option("--one-sided", arguments.one_sided,
                     "measure RDMA by the client (read, write), or by the server on request, as a "
                     "write IO (pull) or a read IO (push) does")
          ->check(CLI::IsMember({"read", "write", "pull", "push"}));
  auto* crossover =
      app.add_flag("--crossover", arguments.crossover, "find the size from which one-sided wins");
  auto* is_idle = app.add_flag("--idle", arguments.idle,
                               "only hold connections, and say how much memory they take");
  auto* cycles = app.add_option("--cycles", arguments.cycles,
                                "open, use once and close so many connections one by one");
  crossover->excludes(one_sided)->excludes(is_idle)->excludes(cycles);
  is_idle->excludes(cycles);
  add_size(app, "--min-size", arguments.range.min_bytes, "smallest size that --crossover tries");
  add_size(app, "--max-size", arguments.range.max_bytes, "largest size that --crossover tries");
  app.add_option("--rounds", arguments.range.rounds,
                 "how often --crossover measures each size both ways, in turn")
      ->check(CLI::Range(1, 100));
}

// The arguments with --type as the option it stands for. Figures of RDMA must not be TCP's unless
// somebody says so, later in the line.
std::vector<std::string> with_options(int argc, char** argv) {
  std::vector<std::string> words = {argv[0], "--ms-async-rdma-fallback=false"};
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    words.emplace_back(word);
    if (word == "--type" && i + 1 < argc) {
      words.push_back(std::string("--ms-type=async+") + argv[i + 1]);
      words.insert(words.end() - 1, argv[++i]);
    } else if (word.starts_with("--type=")) {
      words.push_back("--ms-type=async+" + std::string(word.substr(7)));
    }
  }
  return words;
}

int run(int argc, char** argv) {
  ProgramDefaults defaults;
  defaults.name = "lunar-perf-msgr";
  const std::vector<std::string> given = with_options(argc, argv);
  std::vector<const char*> pointers;
  for (const std::string& word : given) pointers.push_back(word.c_str());
  auto program =
      Program::start(static_cast<int>(pointers.size()), pointers.data(), std::move(defaults));
  if (!program) return complain(kUsageError, program.error().message);
  Arguments arguments;
  CLI::App app("The messenger and its transports, measured between two processes.",
               "lunar-perf-msgr");
  app.footer(Program::common_help());
  app.set_version_flag("--version", version_line("lunar-perf-msgr"));
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--format", arguments.format, "form of the output: plain or json")
      ->check(CLI::IsMember({"plain", "json"}));
  CLI::App* server = app.add_subcommand("server", "answer clients until SIGTERM");
  server->add_option("--bind", arguments.bind,
                     "ADDRESS:PORT of the first loop, the next ones follow; port 0 takes any");
  add_common(*server, arguments);
  CLI::App* client =
      app.add_subcommand("client", "measure against a server, print the figures and end");
  add_common(*client, arguments);
  add_client(*client, arguments);
  std::vector<std::string> words = (*program)->arguments();
  std::reverse(words.begin(), words.end());  // CLI11 wants the last one first
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageError;
  }
  return server->parsed() ? run_server(**program, arguments) : run_client(**program, arguments);
}

}  // namespace
}  // namespace lunar::perf_msgr

int main(int argc, char** argv) { return lunar::perf_msgr::run(argc, argv); }
