// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/authority_link.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace lunar::osd {

using objecter::MessageType;
using objecter::OsdErrc;

AuthorityLink::AuthorityLink(msgr::EventCenter& center, msgr::Messenger& messenger, Host& host,
                             std::vector<msgr::Address> bootstrap,
                             std::chrono::nanoseconds retry_interval)
    : center_(center),
      messenger_(messenger),
      host_(host),
      bootstrap_(std::move(bootstrap)),
      retry_interval_(retry_interval) {}

AuthorityLink::~AuthorityLink() { stop(); }

void AuthorityLink::start() { try_next(); }

void AuthorityLink::stop() {
  stopped_ = true;
  center_.cancel(std::exchange(timer_, msgr::TimerId::kNone));
  if (const auto connection = std::exchange(connection_, nullptr)) connection->close();
}

// The authority's own addresses first, as far as they are known, then whoever may know better.
std::vector<msgr::Address> AuthorityLink::candidates() const {
  std::vector<msgr::Address> addresses;
  const auto add = [&](const msgr::Address& address) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  };
  if (const objecter::OsdMapRef map = host_.map()) {
    if (const objecter::OsdInfo* authority = map->find_osd(map->authority))
      for (const msgr::Address& address : authority->addresses) add(address);
  }
  for (const msgr::Address& address : bootstrap_) add(address);
  return addresses;
}

void AuthorityLink::try_next() {
  if (stopped_ || booted_) return;
  const std::vector<msgr::Address> addresses = candidates();
  if (!addresses.empty()) {
    const msgr::Address& address = addresses[tried_++ % addresses.size()];
    if (!connection_ || connection_->target() != address) {
      if (const auto old = std::exchange(connection_, nullptr)) old->close();
      peer_ = -1;
      LUNAR_LOG(kMap, 5, "looking for the map authority at {}", address.to_string());
      connection_ = messenger_.connect(address, msgr::Policy::kLosslessClient);
    } else if (peer_ >= 0) {
      send_boot();
    }
  }
  arm();
}

void AuthorityLink::arm() {
  center_.cancel(timer_);
  timer_ = center_.run_after(retry_interval_, [this] {
    timer_ = msgr::TimerId::kNone;
    try_next();
  });
}

void AuthorityLink::on_message(const msgr::InMessage& message) {
  switch (static_cast<MessageType>(message.meta.type)) {
    case MessageType::kServerHello:
      return on_hello(message.front);
    case MessageType::kMap:
      return on_map(message.front);
    case MessageType::kOsdBootReply:
      return on_boot_reply(message.front);
    default:
      return;
  }
}

void AuthorityLink::on_hello(ConstBytes front) {
  const auto hello = objecter::decode_server_hello(front);
  if (!hello) return;
  const objecter::OsdBoot boot = host_.make_boot();
  if (!hello->fsid.is_nil() && hello->fsid != boot.fsid) {
    std::string problem = "the server at " + connection_->target().to_string() +
                          " belongs to cluster " + hello->fsid.to_string() + ", not to ours (" +
                          boot.fsid.to_string() + "); check mon_host";
    if (problem != last_problem_) LUNAR_ERROR(kMap, "{}", problem);
    last_problem_ = std::move(problem);
    return;  // the next candidate's turn comes
  }
  peer_ = hello->osd;
  subscribe();
  send_boot();
}

void AuthorityLink::send_boot() {
  // Without a map whoever answers may be the authority; anybody else says so.
  const objecter::OsdMapRef map = host_.map();
  if (map && peer_ != map->authority) return;
  std::vector<std::byte> front;
  objecter::encode(host_.make_boot(), front);
  send(MessageType::kOsdBoot, std::move(front));
}

void AuthorityLink::boot_again() {
  booted_ = false;
  if (connection_ && peer_ >= 0) send_boot();
  arm();
}

void AuthorityLink::subscribe() {
  const objecter::OsdMapRef map = host_.map();
  std::vector<std::byte> front;
  objecter::encode(objecter::MapSubscribe{map ? map->epoch : 0}, front);
  send(MessageType::kMapSubscribe, std::move(front));
}

void AuthorityLink::want_map() {
  if (connection_ && peer_ >= 0) subscribe();
}

void AuthorityLink::on_map(ConstBytes front) {
  auto map = objecter::decode_osd_map(front);
  if (!map) {
    LUNAR_ERROR(kMap, "the map that {} sent cannot be used: {}", connection_->target().to_string(),
                map.error().message);
    if (map.error().code == OsdErrc::kIncompatible)
      host_.on_refused(OsdErrc::kIncompatible, map.error().message);
    return;
  }
  const objecter::OsdMapRef old = host_.map();
  if (map->fsid != host_.make_boot().fsid || (old && map->epoch <= old->epoch)) return;
  host_.on_newer_map(std::move(*map));
}

void AuthorityLink::on_boot_reply(ConstBytes front) {
  auto reply = objecter::decode_osd_boot_reply(front);
  if (!reply) return;
  switch (reply->error) {
    case OsdErrc::kOk:
      booted_ = true;
      center_.cancel(std::exchange(timer_, msgr::TimerId::kNone));
      last_problem_.clear();
      return host_.on_booted(reply->epoch);
    case OsdErrc::kStaleMap:  // not the authority
    case OsdErrc::kBusy:
    case OsdErrc::kIoError:
    case OsdErrc::kNoSpace:
    case OsdErrc::kShutdown:
      if (reply->message != last_problem_) LUNAR_LOG(kMap, 1, "{}", reply->message);
      last_problem_ = std::move(reply->message);
      return;  // the timer tries again
    default:
      return host_.on_refused(reply->error, std::move(reply->message));
  }
}

void AuthorityLink::on_reset(std::error_code why) {
  LUNAR_LOG(kMap, 1, "the session with {} is gone: {}", connection_->target().to_string(),
            why.message());
  booted_ = false;
  peer_ = -1;
  arm();
}

void AuthorityLink::send(MessageType type, std::vector<std::byte> front) {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  meta.priority = msgr::Priority::kHigh;
  connection_->send(std::make_unique<msgr::SimpleMessage>(meta, std::move(front)));
}

}  // namespace lunar::osd
