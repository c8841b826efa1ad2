// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "osd/map/map_change.h"

namespace lunar::osd {

// Later maps than that of a backup may be known to servers and clients, which take none that is
// older: a restored one is later than any that is known to the authority by so many changes.
constexpr objecter::Epoch kRestoreGap = 1'000'000;
// And pools may have been made since, of which the authority knows nothing: their ids are not given
// out again.
constexpr objecter::PoolId kRestorePoolGap = 1024;

using CommandChange = MapChange<objecter::CommandReply>;

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

// What a "pool create" asks for, if that is a pool in RADOS and can be made: its place has to be
// looked at first (PoolStores::check_new_pool).
std::optional<objecter::PoolInfo> rados_pool_asked_for(const objecter::OsdMap& map,
                                                       std::string_view text);

// The server is up no more, and no RADOS client of it is known.
void mark_down(objecter::OsdInfo& osd);

// A cluster's first map: these servers, no pools, epoch 1.
objecter::OsdMap make_first_map(const Uuid& fsid, objecter::OsdId authority, const Uuid& store);

}  // namespace lunar::osd
