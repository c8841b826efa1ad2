// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/command.h"

#include <unistd.h>

#include <cstdio>

#include "common/size_parse.h"
#include "common/visible_text.h"

namespace lunar::tools {

bool CommandContext::shows_progress() const {
  return !is_progress_hidden && isatty(STDERR_FILENO) == 1;
}

// A key that is not there is a wrong key: no such file would say that of the image.
Outcome<ClusterHandle*> CommandContext::cluster() {
  if (cluster_ != nullptr) return cluster_.get();
  const Config& config = program_.config();
  if (config.file().empty() && !config.is_set("mon_host")) {
    return failure(std::errc::destination_address_required,
                   "no configuration was found in $LUNAR_CONF, /etc/lunar/lunar.conf, "
                   "~/.lunar/config or ./lunar.conf: name the file with -c FILE, or the servers "
                   "with --mon-host HOST:PORT");
  }
  auto opened = ClusterHandle::open(config, program_.perf());
  if (!opened && opened.error().code == std::errc::no_such_file_or_directory) {
    return failure(std::errc::permission_denied, opened.error().message);
  }
  if (!opened) return failure(opened.error());
  cluster_ = std::move(*opened);
  return cluster_.get();
}

CLI::Option* CommandContext::add_image_option(CLI::App& command, std::string& spec,
                                              const std::string& help, const std::string& words) {
  specs_.push_back(&spec);
  return command.add_option(words, spec, help)->required();
}

CLI::Option* CommandContext::add_pool_option(CLI::App& command, std::string& name) {
  add_default_pool(name);
  return command.add_option("pool", name, "name of the pool; without it, that of --pool, or rbd");
}

Outcome<void> CommandContext::complete_spec(std::string& spec) const {
  const auto slash = spec.find('/');
  if (slash == std::string::npos) {
    spec = (pool.empty() ? kDefaultPool : pool) + "/" + spec;
  } else if (!pool.empty() && spec.substr(0, slash) != pool) {
    return failure(std::errc::invalid_argument,
                   "'" + spec + "' names another pool than --pool " + pool + ": give one of them");
  }
  return {};
}

Outcome<void> CommandContext::begin(const std::string& command) {
  if (command != "check") {  // which has a place for them
    for (const std::string& warning : program_.config().warnings()) {
      print_visible(stderr, "lunar: warning: %s\n", warning.c_str());
    }
  }
  for (std::string* spec : specs_) {
    if (spec->empty()) continue;
    if (auto completed = complete_spec(*spec); !completed) return completed;
  }
  for (std::string* name : pools_) {
    if (name->empty()) *name = pool.empty() ? kDefaultPool : pool;
    if (!pool.empty() && *name != pool) {
      return failure(std::errc::invalid_argument,
                     "'" + *name + "' is another pool than --pool " + pool + ": give one of them");
    }
  }
  return {};
}

CLI::Option* add_size_option(CLI::App& command, const std::string& name, uint64_t& value,
                             const std::string& help) {
  const auto parse = [&value](const std::string& text) {
    const auto bytes = parse_size(text);
    if (bytes) value = *bytes;
    return bytes.has_value();
  };
  return command
      .add_option_function<std::string>(
          name,
          [parse, name](const std::string& text) {
            if (!parse(text))
              throw CLI::ValidationError(name,
                                         "'" + text + "' is not a size; write 4096, 64K or 10G");
          },
          help)
      ->type_name("SIZE");
}

std::string size_text(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, value == static_cast<uint64_t>(value) ? "%.0f %s" : "%.2f %s",
                value, kUnits[unit]);
  return text;
}

}  // namespace lunar::tools
