// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/auth_commands.h"

#include <fmt/core.h>

#include <algorithm>

#include "common/json.h"
#include "objecter/protocol/capabilities.h"

namespace lunar::osd {

using objecter::EntityInfo;
using objecter::OsdErrc;
using objecter::OsdMap;

namespace {

constexpr std::string_view kClientPrefix = "client.";

CommandJson describe(const EntityInfo& entity) {
  return {{"entity", entity.entity}, {"caps", entity.caps}};
}

CommandChange no_such_entity(const std::string& name) {
  return refuse(
      OsdErrc::kNoSuchObject,
      fmt::format("{} has no capabilities; `auth ls` lists who has", printable_text(name)));
}

// A sentence if a grant is no use: of a pool that is not there, or of an image that was not found.
Outcome<void> check_grants(const OsdMap& map, const objecter::Capabilities& capabilities) {
  for (const objecter::Grant& grant : capabilities.grants) {
    if (!grant.pool.empty() && map.find_pool(std::string_view(grant.pool)) == nullptr)
      return failure(OsdErrc::kNoSuchPool,
                     fmt::format("there is no pool '{}'; `pool ls` lists them", grant.pool));
    if (!grant.image.empty() && grant.image_id == 0)
      return failure(
          OsdErrc::kInvalid,
          fmt::format("image={0} needs the id of the image, too: `lunar auth caps` looks "
                      "it up, `lunar info {1}/{0}` shows it",
                      grant.image, grant.pool));
  }
  return {};
}

}  // namespace

CommandChange auth_ls(const OsdMap& map, const CommandJson&) {
  CommandJson entities = CommandJson::array();
  for (const EntityInfo& entity : map.entities) entities.push_back(describe(entity));
  return answer(map, entities);
}

CommandChange auth_get(const OsdMap& map, const CommandJson& arguments) {
  const std::string name = text_of(arguments, "entity");
  const EntityInfo* entity = map.find_entity(name);
  return entity == nullptr ? no_such_entity(name) : answer(map, describe(*entity));
}

CommandChange auth_caps(const OsdMap& map, const CommandJson& arguments) {
  EntityInfo entity{text_of(arguments, "entity"), {}};
  if (entity.entity.size() <= kClientPrefix.size() || !entity.entity.starts_with(kClientPrefix))
    return refuse(OsdErrc::kInvalid,
                  "\"entity\" must be client.ID: capabilities are for clients, and servers have "
                  "fixed permissions");
  const auto capabilities = objecter::parse_capabilities(text_of(arguments, "caps"));
  if (!capabilities) return refuse(capabilities.error());
  if (const auto useful = check_grants(map, *capabilities); !useful) return refuse(useful.error());
  entity.caps = to_string(*capabilities);
  const CommandJson shown = describe(entity);
  OsdMap next = map;
  const auto at = std::lower_bound(
      next.entities.begin(), next.entities.end(), entity.entity,
      [](const EntityInfo& each, const std::string& key) { return each.entity < key; });
  if (at != next.entities.end() && at->entity == entity.entity)
    *at = std::move(entity);
  else
    next.entities.insert(at, std::move(entity));
  return change(std::move(next), shown);
}

CommandChange auth_rm(const OsdMap& map, const CommandJson& arguments) {
  const std::string name = text_of(arguments, "entity");
  if (map.find_entity(name) == nullptr) return no_such_entity(name);
  OsdMap next = map;
  std::erase_if(next.entities, [&](const EntityInfo& entity) { return entity.entity == name; });
  return change(std::move(next), {{"entity", name}, {"status", "removed"}});
}

CommandChange auth_enforce(const OsdMap& map, const CommandJson& arguments) {
  if (map.enforces_caps) return answer(map, {{"capabilities", "enforced"}});
  if (!is_set(arguments, "yes_i_really_mean_it"))
    return refuse(
        OsdErrc::kNotPermitted,
        fmt::format("from then on entities without capabilities may do nothing, gateways with open "
                    "LUNs included; {} have some, `auth ls` lists them. If all do that are in use, "
                    "repeat with --yes-i-really-mean-it",
                    map.entities.size()));
  OsdMap next = map;
  next.enforces_caps = true;
  return change(std::move(next), {{"capabilities", "enforced"}});
}

}  // namespace lunar::osd
