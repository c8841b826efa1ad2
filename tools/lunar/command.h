// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "common/program.h"
#include "common/result.h"
#include "tools/lunar/cluster_handle.h"
#include "tools/lunar/progress_line.h"

namespace lunar::tools {

// What the subcommands share: the program's configuration, the output format, and the cluster once
// somebody needs it. Single-threaded.
class CommandContext {
 public:
  explicit CommandContext(Program& program) : program_(program) {}

  Program& program() noexcept { return program_; }
  bool wants_json() const noexcept { return format == "json"; }
  bool shows_progress() const;
  // Opens it at the first call.
  Outcome<ClusterHandle*> cluster();

  // Adds a subcommand whose `run` returns an Outcome<void>. CLI11 keeps it, and wants it copyable.
  template <typename Run>
  CLI::App* add(CLI::App& parent, const std::string& name, const std::string& help, Run run) {
    CLI::App* command = parent.add_subcommand(name, help);
    command->callback([this, name, run = std::move(run)]() mutable {
      result = begin(name);
      if (result) result = run();
    });
    return command;
  }
  // Adds the argument that names an image, which must be given; `spec` is POOL/IMAGE when the
  // subcommand runs, whatever was typed. Borrows `spec`. For `words` other than "image".
  CLI::Option* add_image_option(CLI::App& command, std::string& spec, const std::string& help,
                                const std::string& words = "image");
  // The same for the name of a pool that may be left out.
  CLI::Option* add_pool_option(CLI::App& command, std::string& name);
  // The same without an argument: --pool is the only way to name it.
  void add_default_pool(std::string& name) { pools_.push_back(&name); }

  // What the chosen subcommand returned.
  Outcome<void> result;
  int exit_code = 0;  // if the result is a success

  std::string format = "plain";
  std::string pool;  // --pool; empty: kDefaultPool
  bool is_progress_hidden = false;

  static constexpr const char* kDefaultPool = "rbd";

 private:
  // After everything was parsed, before a subcommand runs: completes specs and pools, and says what
  // is misspelt in the configuration file.
  Outcome<void> begin(const std::string& command);
  Outcome<void> complete_spec(std::string& spec) const;

  Program& program_;
  std::vector<std::string*> specs_;         // of all subcommands
  std::vector<std::string*> pools_;         // the same
  std::unique_ptr<ClusterHandle> cluster_;  // null until cluster() has succeeded
};

// In the form that the user wants.
void print_json(const CommandContext& context, const nlohmann::ordered_json& json);
// Sends a command to the map authority, and prints the answer.
Outcome<void> ask_authority(CommandContext& context, const nlohmann::ordered_json& request);
// The same of what changes nothing: if the authority is silent, any other server answers.
Outcome<void> ask_any_server(CommandContext& context, const nlohmann::ordered_json& request);
// Who has POOL/IMAGE open.
Outcome<void> show_image_status(CommandContext& context, const std::string& spec);
// One function per file of subcommands; each adds its own to `app`.
void add_image_commands(CLI::App& app, CommandContext& context);
void add_transfer_commands(CLI::App& app, CommandContext& context);
void add_bench_command(CLI::App& app, CommandContext& context);
void add_copy_commands(CLI::App& app, CommandContext& context);
void add_iostat_commands(CLI::App& app, CommandContext& context);
void add_usage_commands(CLI::App& app, CommandContext& context);
void add_scrub_commands(CLI::App& app, CommandContext& context);
void add_status_commands(CLI::App& app, CommandContext& context);
void add_cluster_commands(CLI::App& app, CommandContext& context);
void add_auth_commands(CLI::App& app, CommandContext& context);
void add_local_commands(CLI::App& app, CommandContext& context);
void add_rdma_commands(CLI::App& app, CommandContext& context);

// An option that takes "10G" or a number of bytes; a wrong text is refused by the parser.
CLI::Option* add_size_option(CLI::App& command, const std::string& name, uint64_t& value,
                             const std::string& help);
std::string size_text(uint64_t bytes);  // "1.5 GiB"

}  // namespace lunar::tools
