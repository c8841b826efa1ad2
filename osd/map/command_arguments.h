// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "osd/map/map_change.h"

namespace lunar::osd {

// What the files of commands share: their arguments, which come as JSON values or as the text that
// a user typed, and the three ways in which a command ends. Pure functions.

using CommandJson = nlohmann::ordered_json;

// Empty if there is none, or it is no text.
std::string text_of(const CommandJson& arguments, const char* name);
std::optional<uint64_t> number_of(const CommandJson& value);
bool is_set(const CommandJson& arguments, const char* name);
// An array, or words separated by commas or spaces; empty if there is none.
std::vector<CommandJson> list_of(const CommandJson& arguments, const char* name);
// The "osd". Errors, each a sentence: kInvalid.
Outcome<objecter::OsdId> osd_number(const CommandJson& arguments);
// The same of an OSD of the map.
Outcome<objecter::OsdId> osd_argument(const objecter::OsdMap& map, const CommandJson& arguments);
// A weight as PoolInfo::Member has it. kInvalid, with a sentence about the argument of this name.
Outcome<uint32_t> weight_argument(const char* name, const CommandJson& value);

// Nothing changes, and this is the answer.
CommandChange answer(const objecter::OsdMap& map, const CommandJson& json);
CommandChange refuse(objecter::OsdErrc error, std::string sentence);
CommandChange refuse(const Error& error);  // one of OsdErrc
// The next map, and the answer when it is durable.
CommandChange change(objecter::OsdMap next, const CommandJson& json);

}  // namespace lunar::osd
