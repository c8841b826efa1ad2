// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/command_arguments.h"

#include <charconv>

namespace lunar::osd {

using objecter::OsdErrc;
using objecter::OsdMap;

namespace {

std::string show(const CommandJson& json) {
  return json.dump(2, ' ', false, CommandJson::error_handler_t::replace);
}

}  // namespace

CommandChange answer(const OsdMap& map, const CommandJson& json) {
  return {{OsdErrc::kOk, map.epoch, show(json)}, std::nullopt};
}
CommandChange refuse(OsdErrc error, std::string sentence) {
  return {{error, 0, std::move(sentence)}, std::nullopt};
}
CommandChange change(OsdMap next, const CommandJson& json) {
  return {{OsdErrc::kOk, 0, show(json)}, std::move(next)};
}

std::string text_of(const CommandJson& arguments, const char* name) {
  const auto found = arguments.find(name);
  return found != arguments.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<uint64_t> number_of(const CommandJson& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  if (!value.is_string()) return std::nullopt;
  const std::string text = value.get<std::string>();
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_set(const CommandJson& arguments, const char* name) {
  const auto found = arguments.find(name);
  if (found == arguments.end()) return false;
  if (found->is_boolean()) return found->get<bool>();
  return found->is_string() && (*found == "true" || *found == "1");
}

}  // namespace lunar::osd
