// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/command_arguments.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "common/json.h"

namespace lunar::osd {

using objecter::OsdErrc;
using objecter::OsdId;
using objecter::OsdMap;
using objecter::PoolInfo;

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
CommandChange refuse(const Error& error) {
  return refuse(static_cast<OsdErrc>(error.code.value()), error.message);
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

std::vector<CommandJson> list_of(const CommandJson& arguments, const char* name) {
  const auto found = arguments.find(name);
  if (found == arguments.end()) return {};
  if (found->is_array()) return {found->begin(), found->end()};
  if (!found->is_string()) return {*found};
  std::vector<CommandJson> words;
  std::string word;
  for (const char c : found->get<std::string>() + ",") {
    if (c != ',' && c != ' ')
      word += c;
    else if (!word.empty())
      words.emplace_back(std::exchange(word, {}));
  }
  return words;
}

Outcome<OsdId> osd_number(const CommandJson& arguments) {
  const auto found = arguments.find("osd");
  const auto id = found == arguments.end() ? std::nullopt : number_of(*found);
  if (!id || *id > INT32_MAX)
    return failure(OsdErrc::kInvalid, "\"osd\" must be the number of an OSD, such as 0");
  return static_cast<OsdId>(*id);
}

Outcome<OsdId> osd_argument(const OsdMap& map, const CommandJson& arguments) {
  auto id = osd_number(arguments);
  if (id && map.find_osd(*id) == nullptr)
    return failure(OsdErrc::kInvalid,
                   fmt::format("there is no osd.{} in the map; `osd ls` lists them", *id));
  return id;
}

Outcome<uint32_t> weight_argument(const char* name, const CommandJson& value) {
  double weight = 0;
  bool is_number = value.is_number();
  if (is_number) {
    weight = value.get<double>();
  } else if (value.is_string()) {
    const std::string text = value.get<std::string>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
    is_number = error == std::errc() && end == text.data() + text.size();
  }
  if (!is_number || !(weight * 65536 >= 1) || weight * 65536 > PoolInfo::kMaxWeight)
    return failure(OsdErrc::kInvalid,
                   fmt::format("\"{}\": {} is not a number above 0 and up to {}", name,
                               printable_json(value), PoolInfo::kMaxWeight >> 16));
  return static_cast<uint32_t>(weight * 65536);
}

}  // namespace lunar::osd
