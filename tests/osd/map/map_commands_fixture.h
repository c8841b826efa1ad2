// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "osd/map/map_boot.h"
#include "osd/map/map_commands.h"

namespace lunar::osd {

using nlohmann::json;
using objecter::OsdBoot;
using objecter::OsdErrc;
using objecter::OsdMap;

// Three servers, up, each by its start 1, and no pool.
class MapCommandsTest : public ::testing::Test {
 protected:
  MapCommandsTest() : map(make_first_map(Uuid::random(), 0, Uuid::random())) {
    for (int id = 0; id < 3; ++id) boot(id, id == 0 ? map.osds[0].store : Uuid::random());
  }
  OsdBoot boot_of(int id, Uuid store) const {
    OsdBoot boot;
    boot.osd = id;
    boot.fsid = map.fsid;
    boot.store = store;
    boot.incarnation = 1;
    boot.addresses = {msgr::Address::loopback(static_cast<uint16_t>(6800 + id))};
    return boot;
  }
  void boot(int id, Uuid store) { accept(boot_osd(map, boot_of(id, store)).next); }
  void accept(std::optional<OsdMap> next) {
    ASSERT_TRUE(next);
    next->epoch = std::max(next->epoch, map.epoch) + 1;
    map = std::move(*next);
    const auto valid = objecter::validate(map);
    ASSERT_TRUE(valid) << valid.error().message;
  }
  // A command that must succeed; its change is taken over.
  json run(const json& request) {
    CommandChange change = run_map_command(map, request.dump());
    EXPECT_EQ(change.reply.error, OsdErrc::kOk) << change.reply.text;
    if (change.next) accept(std::move(change.next));
    return json::parse(change.reply.text, nullptr, false);
  }
  std::string refusal(const json& request, OsdErrc error) {
    CommandChange change = run_map_command(map, request.dump());
    EXPECT_EQ(change.reply.error, error) << change.reply.text;
    EXPECT_FALSE(change.next);
    return change.reply.text;
  }
  OsdMap map;
};

}  // namespace lunar::osd
