// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>

#include "objecter/protocol/osd_map.h"
#include "osd/map/map_change.h"

namespace lunar::osd {

// The authority's commands, README.md "Commands": {"prefix": "pool create", "pool": "rbd", …}.
// Pure functions of a map. A refusal is a sentence that says what to do.
CommandChange run_map_command(const objecter::OsdMap& map, std::string_view text);
std::string_view map_command_help();
// Who may send a command of the map, and which server answers it.
enum class MapCommandKind : uint8_t {
  kShows,    // changes nothing, and shows nothing of what entities may do: by each server
  kReads,    // changes nothing: for administrators, by each server
  kBacksUp,  // changes nothing: for administrators, by the authority, which has the newest map
  kChanges,  // for administrators, by the authority; what is unknown too
};
MapCommandKind kind_of_map_command(std::string_view prefix);

// Whether the command asks for the map that a server has, though it may be an old one.
bool may_be_old(std::string_view text);

// The "prefix" of a command; empty if it is no JSON object that has one.
std::string command_prefix(std::string_view text);

// A cluster's first map: these servers, no pools, epoch 1.
objecter::OsdMap make_first_map(const Uuid& fsid, objecter::OsdId authority, const Uuid& store);

}  // namespace lunar::osd
