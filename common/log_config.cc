// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/log_config.h"

namespace lunar {

Outcome<std::unique_ptr<LogConfig>> LogConfig::open(Config& config) {
  if (auto opened = log_open(target_of(config)); !opened) return failure(opened.error());
  return follow(config);
}

LogTarget LogConfig::target_of(const Config& config) {
  return {.file = config.get_string("log_file"), .to_stderr = config.get_bool("log_to_stderr")};
}

std::unique_ptr<LogConfig> LogConfig::follow(Config& config) {
  std::unique_ptr<LogConfig> self(new LogConfig);
  for (std::size_t i = 0; i < static_cast<std::size_t>(Subsystem::kCount); ++i) {
    const auto subsystem = static_cast<Subsystem>(i);
    std::string option = "debug_" + std::string(subsystem_name(subsystem));
    log_set_levels(subsystem, config.get_log_level(option));
    self->observers_.push_back(config.observe(option, [subsystem, option](const Config& changed) {
      log_set_levels(subsystem, changed.get_log_level(option));
    }));
  }
  for (const std::string& warning : config.warnings()) LUNAR_LOG(kLunar, 0, "{}", warning);
  return self;
}

}  // namespace lunar
