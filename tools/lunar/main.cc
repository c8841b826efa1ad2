// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar: images and clusters from the command line, in the manner of `rbd` and `ceph`.

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "common/nearest_word.h"
#include "common/options.h"
#include "common/visible_text.h"
#include "gateway/errno_of.h"
#include "tools/lunar/command.h"
#include "tools/lunar/stop_signals.h"

namespace {

// EX_USAGE of sysexits.h: no errno that an op ends with. 2 is that of an image that is not there.
constexpr int kUsageError = 64;

// The subcommand that was chosen, as far as it was.
const CLI::App& chosen_in(const CLI::App& app) {
  const CLI::App* chosen = &app;
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands().front();
  return *chosen;
}

std::vector<std::string> subcommands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* each : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(each->get_name());
    const auto& aliases = each->get_aliases();
    names.insert(names.end(), aliases.begin(), aliases.end());
  }
  return names;
}

// With their dashes: its own, those of all, and those of the configuration.
std::vector<std::string> options_of(const CLI::App& chosen) {
  std::vector<std::string> names;
  for (const CLI::App* app = &chosen; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  for (const lunar::OptionSpec& option : lunar::all_options()) {
    std::string name(option.name);
    std::replace(name.begin(), name.end(), '_', '-');
    names.push_back("--" + name);
  }
  return names;
}

// "'--sise' is not known here; did you mean '--size'?"
std::string unknown_text(const CLI::App& app, const std::vector<std::string>& unknown) {
  const auto is_option = [](const std::string& word) { return word.starts_with('-'); };
  const auto option = std::find_if(unknown.begin(), unknown.end(), is_option);
  const std::string& word = option != unknown.end() ? *option : unknown.front();
  const CLI::App& chosen = chosen_in(app);
  const std::string name = word.substr(0, word.find('='));
  const std::vector<std::string> known =
      is_option(word) ? options_of(chosen) : subcommands_of(chosen);
  std::string text = "'" + word + "' is not known here";
  const std::vector<std::string_view> views(known.begin(), known.end());
  const std::string_view near = lunar::nearest_word(name, views);
  if (!near.empty()) text += "; did you mean '" + std::string(near) + "'?";
  return text;
}

int exit_for(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // help, or the version
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  const bool is_extra = dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  const bool is_missing = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  // What is missing is often what was misspelt.
  const bool is_misspelt = !unknown.empty() && (is_extra || is_missing);
  const std::string text = is_misspelt ? unknown_text(app, unknown) : error.what();
  std::string path;
  for (const CLI::App* each = &chosen_in(app); each->get_parent() != nullptr;
       each = each->get_parent()) {
    path = " " + each->get_name() + path;
  }
  lunar::print_visible(stderr, "lunar: %s\n'lunar help%s' says what can be given\n", text.c_str(),
                       path.c_str());
  return kUsageError;
}

int run(int argc, char** argv) {
  lunar::ProgramDefaults defaults;
  defaults.name = "lunar";
  defaults.log_to_stderr = false;  // what a user has to know is in the sentence at the end
  auto program = lunar::Program::start(argc, argv, std::move(defaults));
  if (!program) {
    lunar::print_visible(stderr, "lunar: %s\n", program.error().message.c_str());
    return kUsageError;
  }
  lunar::tools::CommandContext context(**program);
  CLI::App app("Lunar, LUNs over Async RDMA: images, pools, servers and gateways.", "lunar");
  app.footer(lunar::Program::common_help());
  app.set_version_flag("--version", lunar::version_line("lunar"));
  app.require_subcommand(1);
  app.add_option("-p,--pool", context.pool, "pool of an image that is named without one (rbd)");
  app.add_option("--format", context.format, "form of the output: plain or json")
      ->check(CLI::IsMember({"plain", "json"}));
  app.add_flag("--no-progress", context.is_progress_hidden, "show no progress line on stderr");
  app.fallthrough();
  lunar::tools::add_image_commands(app, context);
  lunar::tools::add_transfer_commands(app, context);
  lunar::tools::add_copy_commands(app, context);
  lunar::tools::add_usage_commands(app, context);
  lunar::tools::add_iostat_commands(app, context);
  lunar::tools::add_bench_command(app, context);
  lunar::tools::add_status_commands(app, context);
  lunar::tools::add_scrub_commands(app, context);
  lunar::tools::add_cluster_commands(app, context);
  lunar::tools::add_auth_commands(app, context);
  lunar::tools::add_local_commands(app, context);
  lunar::tools::add_rdma_commands(app, context);

  app.add_subcommand("help", "show what a command does and takes, as --help does");
  std::vector<std::string> arguments = (*program)->arguments();
  const bool is_help = !arguments.empty() && arguments.front() == "help";
  if (is_help && (arguments.size() == 1 || !arguments[1].starts_with('-'))) {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  std::reverse(arguments.begin(), arguments.end());  // CLI11 wants the last one first
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return exit_for(app, error);
  }
  if (context.result) return context.exit_code;
  lunar::print_visible(stderr, "lunar: %s\n", context.result.error().message.c_str());
  if (const int signal = lunar::tools::StopSignals::received(); signal != 0) return 128 + signal;
  return lunar::gateway::errno_of(context.result.error().code);
}

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
