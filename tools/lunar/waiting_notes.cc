// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/waiting_notes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "common/json.h"
#include "objecter/protocol/control.h"

namespace lunar::tools {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;
using objecter::OsdId;

constexpr std::chrono::milliseconds kSoon{800};  // and looked at every quarter of a second
constexpr std::chrono::seconds kSlow{5};         // for a server that has a connection
constexpr std::chrono::seconds kAgain{5};
constexpr OsdId kNoServer = -1;

Json parse(const std::string& text) {
  return parse_json_or_null<Json>(text, objecter::kAnswerBounds);
}

std::string seconds_text(std::chrono::nanoseconds time) {
  return std::to_string(std::max<int64_t>(1, (time + 200ms) / 1s)) + " s";
}

}  // namespace

std::map<OsdId, WaitingNotes::ServerWait> WaitingNotes::waits_in(const std::string& ops,
                                                                 const std::string& sessions,
                                                                 const objecter::OsdMap& map,
                                                                 TimePoint now) {
  std::map<OsdId, ServerWait> waits;
  const Json in_flight = parse(ops);
  for (const Json& op : json_list_in(in_flight, "ops")) {
    ServerWait& wait = waits[op.value("osd", kNoServer)];
    const std::chrono::duration<double> age(op.value("age", 0.0));
    wait.age = std::max(wait.age, std::chrono::duration_cast<std::chrono::nanoseconds>(age));
  }
  const Json known = parse(sessions);
  for (const Json& session : json_list_in(known, "sessions")) {
    const auto wait = waits.find(session.value("osd", kNoServer));
    if (wait == waits.end()) continue;
    wait->second.is_connected =
        session.value("state", "") == "open" && session.value("link", false);
  }
  std::map<uint64_t, TimePoint> commands;
  for (const Json& command : json_list_in(in_flight, "command_ops")) {
    const auto tid = command.value("tid", uint64_t{0});
    const auto seen = commands_.find(tid);
    const TimePoint since = seen == commands_.end() ? now : seen->second;
    commands[tid] = since;
    const OsdId asked = command.value("osd", kNoServer);
    ServerWait& wait = waits[asked < 0 ? map.authority : asked];
    wait.age = std::max<std::chrono::nanoseconds>(wait.age, now - since);
    wait.is_connected = false;  // a server answers them at once
  }
  commands_ = std::move(commands);
  return waits;
}

bool WaitingNotes::is_due(OsdId osd, TimePoint now) {
  const auto said = said_.find(osd);
  if (said != said_.end() && now - said->second < kAgain) return false;
  said_[osd] = now;
  return true;
}

std::vector<std::string> WaitingNotes::look(const std::string& ops, const std::string& sessions,
                                            const objecter::OsdMap* map, TimePoint now) {
  std::vector<std::string> notes;
  if (map == nullptr) {
    if (now - began_ >= kSoon && is_due(kNoServer, now)) {
      notes.push_back("waiting for any server of mon_host for " + seconds_text(now - began_) +
                      "; gives up after " + seconds_text(op_timeout_));
    }
    return notes;
  }
  for (const auto& [osd, wait] : waits_in(ops, sessions, *map, now)) {
    if (wait.age < (wait.is_connected ? std::chrono::nanoseconds(kSlow) : kSoon)) continue;
    if (osd < 0 || !is_due(osd, now)) continue;
    const auto* info = map->find_osd(osd);
    const bool is_up = info != nullptr && info->up;
    std::string note = "waiting for osd." + std::to_string(osd);
    if (osd == map->authority) note += ", the map authority,";
    note += " for " + seconds_text(wait.age) + ": it ";
    note += is_up ? "does not answer" : "is down";
    notes.push_back(note + "; an op gives up after " + seconds_text(op_timeout_));
  }
  return notes;
}

}  // namespace lunar::tools
