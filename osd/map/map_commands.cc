// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_commands.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "osd/map/auth_commands.h"
#include "osd/map/command_arguments.h"
#include "osd/map/map_restore.h"
#include "osd/map/osd_commands.h"
#include "osd/map/pool_commands.h"

namespace lunar::osd {
namespace {

using Json = CommandJson;
using objecter::OsdErrc;
using objecter::OsdInfo;
using objecter::OsdMap;

CommandChange status(const OsdMap& map, const Json&) {
  const auto up =
      std::count_if(map.osds.begin(), map.osds.end(), [](const OsdInfo& osd) { return osd.up; });
  return answer(map, {{"fsid", map.fsid.to_string()},
                      {"epoch", map.epoch},
                      {"authority", fmt::format("osd.{}", map.authority)},
                      {"num_osds", map.osds.size()},
                      {"num_up_osds", up},
                      {"num_pools", map.pools.size()},
                      {"capabilities", map.enforces_caps ? "enforced" : "not enforced"},
                      {"unknown_pools", map.unknown_pools.to_text()}});
}

CommandChange map_dump(const OsdMap& map, const Json&) {
  return {{OsdErrc::kOk, map.epoch, objecter::to_json(map)}, std::nullopt};
}

struct MapCommand {
  std::string_view prefix;
  CommandChange (*run)(const OsdMap&, const Json&);
  MapCommandKind kind;
};
constexpr MapCommand kCommands[] = {
    {"status", &status, MapCommandKind::kShows},
    {"osd ls", &osd_ls, MapCommandKind::kShows},
    {"osd tree", &osd_tree, MapCommandKind::kShows},
    {"osd map", &osd_map, MapCommandKind::kShows},
    {"osd dump", &map_dump, MapCommandKind::kReads},
    {"osd down", &osd_down, MapCommandKind::kChanges},
    {"osd out", &osd_out, MapCommandKind::kChanges},
    {"osd in", &osd_in, MapCommandKind::kChanges},
    {"osd rm", &osd_rm, MapCommandKind::kChanges},
    {"osd replace", &osd_replace, MapCommandKind::kChanges},
    {"pool ls", &pool_ls, MapCommandKind::kShows},
    {"pool get", &pool_get, MapCommandKind::kShows},
    {"pool create", &pool_create, MapCommandKind::kChanges},
    {"pool rm", &pool_rm, MapCommandKind::kChanges},
    {"pool purge-unknown", &pool_purge_unknown, MapCommandKind::kChanges},
    {"map dump", &map_dump, MapCommandKind::kReads},
    {"map backup", &map_dump, MapCommandKind::kBacksUp},
    {"map restore", &map_restore, MapCommandKind::kChanges},
    {"auth ls", &auth_ls, MapCommandKind::kReads},
    {"auth get", &auth_get, MapCommandKind::kReads},
    {"auth caps", &auth_caps, MapCommandKind::kChanges},
    {"auth rm", &auth_rm, MapCommandKind::kChanges},
    {"auth enforce", &auth_enforce, MapCommandKind::kChanges},
};

const MapCommand* find_command(std::string_view prefix) {
  for (const MapCommand& command : kCommands)
    if (command.prefix == prefix) return &command;
  return nullptr;
}

}  // namespace

bool may_be_old(std::string_view text) {
  const auto json = parse_json<Json>(text, objecter::kAnswerBounds);
  return json && json->is_object() && is_set(*json, "may_be_old");
}

std::string command_prefix(std::string_view text) {
  const auto json = parse_json<Json>(text, objecter::kAnswerBounds);
  return json && json->is_object() ? text_of(*json, "prefix") : std::string();
}

std::string_view map_command_help() {
  return "status, osd ls|tree|dump|map|down|out|in|rm|replace, "
         "pool ls|get|create|rm|purge-unknown, map dump|backup|restore, "
         "auth ls|get|caps|rm|enforce";
}

MapCommandKind kind_of_map_command(std::string_view prefix) {
  const MapCommand* command = find_command(prefix);
  return command == nullptr ? MapCommandKind::kChanges : command->kind;
}

CommandChange run_map_command(const OsdMap& map, std::string_view text) {
  const auto parsed = parse_json<Json>(text, objecter::kAnswerBounds);
  if (!parsed) return refuse(OsdErrc::kInvalid, "the command " + parsed.error().message);
  const Json& json = *parsed;
  if (!json.is_object() || text_of(json, "prefix").empty())
    return refuse(OsdErrc::kInvalid, "a command is a JSON object with a \"prefix\"");
  const std::string prefix = text_of(json, "prefix");
  const MapCommand* command = find_command(prefix);
  if (command == nullptr)
    return refuse(OsdErrc::kInvalid, fmt::format("unknown command '{}'; known are {}",
                                                 printable_text(prefix), map_command_help()));
  return command->run(map, json);
}

OsdMap make_first_map(const Uuid& fsid, objecter::OsdId authority, const Uuid& store) {
  OsdMap map;
  map.fsid = fsid;
  map.epoch = 1;
  map.authority = authority;
  map.enforces_caps = true;
  map.osds.push_back({authority, store, {}, false});
  return map;
}

}  // namespace lunar::osd
