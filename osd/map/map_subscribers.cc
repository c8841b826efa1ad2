// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_subscribers.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "objecter/protocol/control.h"
#include "osd/map/send_front.h"

namespace lunar::osd {

using objecter::MessageType;
using objecter::OsdMapRef;

void MapSubscribers::subscribe(msgr::Connection& connection, objecter::Epoch has,
                               const OsdMapRef& map) {
  MapSubscriber& subscriber = subscribers_[connection.id()];
  subscriber.connection = connection.shared_from_this();
  if (map && map->epoch > std::max(has, subscriber.sent)) return send_map(subscriber, map);
  std::vector<std::byte> current;
  objecter::encode(objecter::MapSubscribe{map ? map->epoch : 0}, current);
  send_front(connection, MessageType::kMapCurrent, std::move(current));
}

void MapSubscribers::publish(const OsdMapRef& map) {
  for (auto& [id, subscriber] : subscribers_) send_map(subscriber, map);
}

void MapSubscribers::send_map(MapSubscriber& to, const OsdMapRef& map) {
  std::vector<std::byte> front;
  const msgr::PeerIdentity& peer = to.connection->peer();
  OsdMapRef visible = visible_map(map, access_.permissions_of(peer, map));
  // By version 6 an earlier client would be without a map. A server has to keep what it has.
  if (!visible->unknown_pools.is_empty() && !peer.entity.starts_with("osd."))
    visible = std::make_shared<const objecter::OsdMap>(objecter::without_unknown_pools(*visible));
  if (peer.follows_moves || !visible->has_kinds())
    objecter::encode(*visible, front);
  else
    objecter::encode(objecter::without_stores(*visible), front);
  to.sent = map->epoch;
  send_front(*to.connection, MessageType::kMap, std::move(front));
}

}  // namespace lunar::osd
