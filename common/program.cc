// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/program.h"

#include <sys/prctl.h>

#include <csignal>
#include <utility>

#include "common/admin_commands.h"
#include "common/file.h"
#include "common/log.h"

namespace lunar {
namespace {

// What the common arguments said, before there is a Config to put it into.
struct CommonArguments {
  std::string conf;
  std::string id;
  std::string name;
  std::string cluster = "lunar";
  std::vector<std::pair<std::string, std::string>> options;
  std::vector<std::string> rest;
};

// One argument taken apart: "--name=value" or "-n value".
struct Argument {
  std::string_view name;  // with its dashes
  std::optional<std::string_view> value;
};

Argument split_argument(std::string_view text) {
  const auto equals = text.find('=');
  if (!text.starts_with("--") || equals == std::string_view::npos) return {text, std::nullopt};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

std::string* common_target(CommonArguments& out, std::string_view name) {
  if (name == "-c" || name == "--conf") return &out.conf;
  if (name == "-i" || name == "--id") return &out.id;
  if (name == "-n" || name == "--name") return &out.name;
  if (name == "--cluster") return &out.cluster;
  return nullptr;
}

Outcome<CommonArguments> split_arguments(int argc, const char* const* argv) {
  CommonArguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    if (text == "--") {
      out.rest.insert(out.rest.end(), argv + i, argv + argc);
      break;
    }
    Argument argument = split_argument(text);
    std::string* target = common_target(out, argument.name);
    const OptionSpec* option = argument.name.starts_with("--")
                                   ? find_option(canonical_option_name(argument.name.substr(2)))
                                   : nullptr;
    if (target == nullptr && option == nullptr) {
      out.rest.emplace_back(text);
      continue;
    }
    if (!argument.value && target == nullptr && option->type == OptionType::kBool) {
      argument.value = "true";
    }
    if (!argument.value) {
      if (i + 1 >= argc) {
        return failure(std::errc::invalid_argument,
                       "'" + std::string(argument.name) + "' needs a value after it");
      }
      argument.value = argv[++i];
    }
    if (target != nullptr) {
      *target = *argument.value;
    } else {
      out.options.emplace_back(option->name, *argument.value);
    }
  }
  return out;
}

Outcome<EntityName> entity_of(const CommonArguments& arguments, const ProgramDefaults& defaults) {
  const std::string text =
      !arguments.name.empty()
          ? arguments.name
          : defaults.entity_type + "." + (arguments.id.empty() ? defaults.entity_id : arguments.id);
  if (auto name = EntityName::parse(text)) return *name;
  return failure(std::errc::invalid_argument,
                 "'" + text + "' is not a name; it takes TYPE.ID, such as client.admin or osd.0");
}

bool cluster_ok(std::string_view cluster) {
  return !cluster.empty() && cluster.find('/') == std::string_view::npos && cluster[0] != '.';
}

mode_t admin_socket_mode(const Config& config) {
  return config.get_string("admin_socket_mode") == "0660" ? 0660 : 0600;
}

}  // namespace

std::string_view version() noexcept { return LUNAR_VERSION; }

std::string version_line(std::string_view program) {
  return std::string(program) + " (Lunar) " + std::string(version());
}

void forbid_core_dumps() noexcept { ::prctl(PR_SET_DUMPABLE, 0); }

Outcome<std::unique_ptr<Program>> Program::start(int argc, const char* const* argv,
                                                 ProgramDefaults defaults) {
  auto arguments = split_arguments(argc, argv);
  if (!arguments) return failure(arguments.error());
  const auto name = entity_of(*arguments, defaults);
  if (!name) return failure(name.error());
  if (!cluster_ok(arguments->cluster)) {
    return failure(std::errc::invalid_argument,
                   "'" + arguments->cluster + "' is not the name of a cluster");
  }
  if (defaults.is_daemon) {
    forbid_core_dumps();
    std::signal(SIGPIPE, SIG_IGN);  // NOLINT(concurrency-mt-unsafe): no thread is running yet
  }

  std::unique_ptr<Program> self(new Program);
  self->config_ = std::make_unique<Config>(*name, arguments->cluster);
  self->perf_ = std::make_unique<PerfRegistry>();
  self->arguments_ = std::move(arguments->rest);
  if (auto loaded = self->config_->load(arguments->conf); !loaded) {
    return failure(loaded.error());
  }
  if (!defaults.log_to_stderr && !self->config_->is_set("log_to_stderr")) {
    if (auto set = self->config_->set("log_to_stderr", "false"); !set) {
      return failure(set.error());
    }
  }
  for (const auto& [option, value] : arguments->options) {
    if (auto set = self->config_->set(option, value); !set) {
      return failure(set.error().code, "command line: " + set.error().message);
    }
  }
  self->config_->freeze();
  auto log = LogConfig::open(*self->config_);
  if (!log) return failure(log.error());
  self->log_ = *std::move(log);
  if (defaults.serves_admin_socket) {
    if (auto served = self->serve_admin_socket(); !served) {
      return failure(served.error());
    }
  }
  self->defaults_ = std::move(defaults);
  return self;
}

Outcome<void> Program::serve_admin_socket() {
  const std::string path = config_->get_string("admin_socket");
  if (path.empty()) return {};
  if (auto made = make_directories(parent_directory(path)); !made) return made;
  auto socket = AdminSocket::create(path, admin_socket_mode(*config_));
  if (!socket) return failure(socket.error());
  admin_socket_ = *std::move(socket);
  admin_commands_ = add_standard_commands(*admin_socket_, *config_, *perf_);
  return {};
}

Program::~Program() {
  admin_commands_.clear();
  admin_socket_.reset();
  log_.reset();
  log_flush();
}

std::string Program::common_help() {
  return "Common options:\n"
         "  -c, --conf FILE       configuration file (else $LUNAR_CONF, /etc/lunar/lunar.conf,\n"
         "                        ~/.lunar/config, ./lunar.conf)\n"
         "  -n, --name TYPE.ID    who this is, such as client.admin\n"
         "  -i, --id ID           the ID alone\n"
         "      --cluster NAME    name of the cluster (lunar)\n"
         "      --OPTION VALUE    any option of the configuration, such as --mon-host 127.0.0.1\n";
}

}  // namespace lunar
