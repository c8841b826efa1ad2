// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar: images and clusters from the command line, in the manner of `rbd` and `ceph`.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "gateway/errno_of.h"
#include "tools/lunar/command.h"
#include "tools/lunar/stop_signals.h"

namespace {

constexpr int kUsageError = 2;

int run(int argc, char** argv) {
  lunar::ProgramDefaults defaults;
  defaults.name = "lunar";
  defaults.log_to_stderr = false;  // what a user has to know is in the sentence at the end
  auto program = lunar::Program::start(argc, argv, std::move(defaults));
  if (!program) {
    std::fprintf(stderr, "lunar: %s\n", program.error().message.c_str());
    return kUsageError;
  }
  lunar::tools::CommandContext context(**program);
  CLI::App app("Lunar, LUNs over Async RDMA: images, pools, servers and gateways.", "lunar");
  app.footer(lunar::Program::common_help());
  app.set_version_flag("--version", lunar::version_line("lunar"));
  app.require_subcommand(1);
  app.add_option("--format", context.format, "form of the output: plain or json")
      ->check(CLI::IsMember({"plain", "json"}));
  app.add_flag("--no-progress", context.is_progress_hidden, "show no progress line on stderr");
  app.fallthrough();
  lunar::tools::add_image_commands(app, context);
  lunar::tools::add_transfer_commands(app, context);
  lunar::tools::add_bench_command(app, context);
  lunar::tools::add_scrub_commands(app, context);
  lunar::tools::add_cluster_commands(app, context);
  lunar::tools::add_auth_commands(app, context);
  lunar::tools::add_local_commands(app, context);
  lunar::tools::add_rdma_commands(app, context);

  std::vector<std::string> arguments = (*program)->arguments();
  std::reverse(arguments.begin(), arguments.end());  // CLI11 wants the last one first
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    // What is missing is often what was misspelt.
    const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
    if (!unknown.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
      std::fprintf(stderr, "lunar: '%s' is not known here. ", unknown.front().c_str());
    }
    const int code = app.exit(error);
    return code == 0 ? 0 : kUsageError;
  }
  if (context.result) return 0;
  std::fprintf(stderr, "lunar: %s\n", context.result.error().message.c_str());
  if (const int signal = lunar::tools::StopSignals::received(); signal != 0) return 128 + signal;
  return lunar::gateway::errno_of(context.result.error().code);
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
