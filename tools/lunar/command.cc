// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/command.h"

#include <unistd.h>

#include <cstdio>

#include "common/size_parse.h"

namespace lunar::tools {

bool CommandContext::shows_progress() const {
  return !is_progress_hidden && isatty(STDERR_FILENO) == 1;
}

Outcome<ClusterHandle*> CommandContext::cluster() {
  if (cluster_ == nullptr) {
    auto opened = ClusterHandle::open(program_.config(), program_.perf());
    if (!opened) return failure(opened.error());
    cluster_ = std::move(*opened);
  }
  return cluster_.get();
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
