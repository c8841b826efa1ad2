// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_subscribers.h"

#include <gtest/gtest.h>

#include "objecter/protocol/control.h"
#include "osd/map/map_commands.h"
#include "tests/osd/recording_connection.h"

namespace lunar::osd {
namespace {

using objecter::Epoch;
using objecter::MessageType;

class MapSubscribersTest : public ::testing::Test {
 protected:
  objecter::OsdMapRef map_of(Epoch epoch) const {
    objecter::OsdMap map = first;
    map.epoch = epoch;
    return std::make_shared<const objecter::OsdMap>(std::move(map));
  }
  std::vector<Epoch> maps() const {
    std::vector<Epoch> epochs;
    for (const auto& map : connection->messages(MessageType::kMap, objecter::decode_osd_map))
      epochs.push_back(map.epoch);
    return epochs;
  }
  // The epochs that it was told are current.
  std::vector<Epoch> currents() const {
    std::vector<Epoch> epochs;
    for (const auto& current :
         connection->messages(MessageType::kMapCurrent, objecter::decode_map_subscribe))
      epochs.push_back(current.epoch);
    return epochs;
  }

  const objecter::OsdMap first = make_first_map(Uuid::random(), 0, Uuid::random());
  std::unique_ptr<msgr::EventCenter> center = std::move(*msgr::EventCenter::create({}));
  std::shared_ptr<RecordingConnection> connection = std::make_shared<RecordingConnection>(
      *center, objecter::ClientIdentity{"client.a", "host", 1});
  AccessControl access{{.auth_required = false, .admins = {}}};
  MapSubscribers subscribers{access};
};

TEST_F(MapSubscribersTest, WhoHasAnOlderMapIsSentOursAndEveryNewerOne) {
  subscribers.subscribe(*connection, 3, map_of(5));
  subscribers.publish(map_of(6));
  EXPECT_EQ(maps(), (std::vector<Epoch>{5, 6}));
  EXPECT_TRUE(currents().empty());
}

TEST_F(MapSubscribersTest, WhoHasOursIsToldThatItIsCurrent) {
  subscribers.subscribe(*connection, 5, map_of(5));
  EXPECT_TRUE(maps().empty());
  EXPECT_EQ(currents(), std::vector<Epoch>{5});
}

TEST_F(MapSubscribersTest, AMapGoesToASessionOnce) {
  subscribers.subscribe(*connection, 0, map_of(5));
  subscribers.subscribe(*connection, 0, map_of(5));
  EXPECT_EQ(maps(), std::vector<Epoch>{5});
  EXPECT_EQ(currents(), std::vector<Epoch>{5});
}

TEST_F(MapSubscribersTest, BeforeTheFirstMapItWaits) {
  subscribers.subscribe(*connection, 0, nullptr);
  EXPECT_EQ(currents(), std::vector<Epoch>{0});
  subscribers.publish(map_of(1));
  EXPECT_EQ(maps(), std::vector<Epoch>{1});
}

TEST_F(MapSubscribersTest, ASessionThatEndedIsSentNothing) {
  subscribers.subscribe(*connection, 5, map_of(5));
  subscribers.on_closed(*connection);
  subscribers.publish(map_of(6));
  EXPECT_TRUE(maps().empty());
  EXPECT_EQ(connection.use_count(), 1) << "it is not kept";
}

TEST_F(MapSubscribersTest, WhoDoesNotFollowMovesIsSentAMapThatItCanRead) {
  objecter::OsdMap map = first;
  map.osds[0].kind = objecter::StoreKind::kRados;
  subscribers.subscribe(*connection, 0, std::make_shared<const objecter::OsdMap>(map));
  const auto sent = connection->messages(MessageType::kMap, objecter::decode_osd_map);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0], first);
}

}  // namespace
}  // namespace lunar::osd
