// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/watch.h"

#include "common/peer_name.h"
#include "objecter/protocol/codec/fields.h"
#include "objecter/protocol/object_id_codec.h"

namespace lunar::objecter {
namespace {

using std::chrono::milliseconds;

void put_bytes(ByteWriter& w, ConstBytes bytes) {
  w.put(static_cast<uint32_t>(bytes.size()));
  w.put_bytes(bytes);
}

std::vector<std::byte> get_bytes(ByteReader& r) {
  const auto size = r.get<uint32_t>();
  if (size > WatchLimits::kMaxPayloadBytes) r.mark_bad();
  if (!r.ok()) return {};
  const ConstBytes bytes = r.get_bytes(size);
  return {bytes.begin(), bytes.end()};
}

void put_ms(ByteWriter& w, milliseconds time) { w.put(static_cast<uint64_t>(time.count())); }

// No time of these messages is longer than a hundred years.
milliseconds get_ms(ByteReader& r) noexcept {
  const auto count = r.get<uint64_t>();
  if (count > 1000ull * 86400 * 36525) r.mark_bad();
  return milliseconds(r.ok() ? static_cast<int64_t>(count) : 0);
}

void put_identity(ByteWriter& w, const ClientIdentity& client) {
  w.put_string(client.entity);
  w.put_string(client.instance);
  w.put(client.nonce);
}

ClientIdentity get_identity(ByteReader& r) {
  ClientIdentity client;
  client.entity = r.get_string(kMaxEntityBytes);
  client.instance = r.get_string(kMaxInstanceBytes);
  if (!is_entity_text(client.entity) || !is_instance_text(client.instance)) r.mark_bad();
  client.nonce = r.get<uint64_t>();
  return client;
}

void put_watcher_id(ByteWriter& w, const WatcherId& id) {
  put_identity(w, id.client);
  w.put(id.cookie);
}

WatcherId get_watcher_id(ByteReader& r) {
  WatcherId id;
  id.client = get_identity(r);
  id.cookie = r.get<uint64_t>();
  return id;
}

void put_settling(ByteWriter& w, const WatchSettling& settling) {
  put_ms(w, settling.timeout);
  put_ms(w, settling.settles_in);
}

WatchSettling get_settling(ByteReader& r) noexcept {
  WatchSettling settling;
  settling.timeout = get_ms(r);
  settling.settles_in = get_ms(r);
  return settling;
}

constexpr std::size_t kMinIdBytes = 4 + 1 + 4 + 1 + 8 + 8;

// How many of these follow; 0 with ok() false if there cannot be so many.
uint32_t get_count(ByteReader& r, std::size_t min_bytes) noexcept {
  const auto count = r.get<uint32_t>();
  if (count > WatchLimits::kMaxWatchers) r.mark_bad();
  return r.can_hold(count, min_bytes) ? count : 0;
}

}  // namespace

void encode(const WatcherList& list, std::vector<std::byte>& out) {
  ByteWriter w(out);
  put_settling(w, list.settling);
  w.put(static_cast<uint32_t>(list.watchers.size()));
  for (const Watcher& watcher : list.watchers) {
    put_watcher_id(w, watcher.id);
    std::vector<msgr::Address> addresses;
    if (!watcher.address.is_unset()) addresses.push_back(watcher.address);
    put_addresses(w, addresses);
    w.put(watcher.is_connected);
    put_ms(w, watcher.disconnected_for);
  }
}

Result<WatcherList> decode_watcher_list(ConstBytes data) {
  ByteReader r(data);
  WatcherList list;
  list.settling = get_settling(r);
  const uint32_t count = get_count(r, kMinIdBytes + 1 + 1 + 8);
  list.watchers.reserve(count);
  for (uint32_t i = 0; i < count && r.ok(); ++i) {
    Watcher& watcher = list.watchers.emplace_back();
    watcher.id = get_watcher_id(r);
    const auto addresses = get_addresses(r);
    if (addresses.size() > 1) return failure(OsdErrc::kInvalid);
    if (!addresses.empty()) watcher.address = addresses.front();
    watcher.is_connected = get_flag(r);
    watcher.disconnected_for = get_ms(r);
  }
  if (!r.is_finished()) return failure(OsdErrc::kInvalid);
  return list;
}

void encode(const NotifyResult& result, std::vector<std::byte>& out) {
  ByteWriter w(out);
  put_settling(w, result.settling);
  w.put(static_cast<uint32_t>(result.acks.size()));
  for (const NotifyAck& ack : result.acks) {
    put_watcher_id(w, ack.who);
    put_bytes(w, ack.reply);
  }
  w.put(static_cast<uint32_t>(result.missed.size()));
  for (const WatcherId& id : result.missed) put_watcher_id(w, id);
}

Result<NotifyResult> decode_notify_result(ConstBytes data) {
  ByteReader r(data);
  NotifyResult result;
  result.settling = get_settling(r);
  const uint32_t acks = get_count(r, kMinIdBytes + 4);
  result.acks.reserve(acks);
  for (uint32_t i = 0; i < acks && r.ok(); ++i) {
    NotifyAck& ack = result.acks.emplace_back();
    ack.who = get_watcher_id(r);
    ack.reply = get_bytes(r);
  }
  const uint32_t missed = get_count(r, kMinIdBytes);
  result.missed.reserve(missed);
  for (uint32_t i = 0; i < missed && r.ok(); ++i) result.missed.push_back(get_watcher_id(r));
  if (!r.is_finished()) return failure(OsdErrc::kInvalid);
  return result;
}

void encode(const WatchNotify& notify, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(notify.notify_id);
  put_object_id(w, notify.object);
  w.put(notify.cookie);
  put_identity(w, notify.notifier);
  put_ms(w, notify.timeout);
  put_bytes(w, notify.payload);
}

Result<WatchNotify> decode_watch_notify(ConstBytes front) {
  ByteReader r(front);
  WatchNotify notify;
  notify.notify_id = r.get<uint64_t>();
  notify.object = get_object_id(r);
  notify.cookie = r.get<uint64_t>();
  notify.notifier = get_identity(r);
  notify.timeout = get_ms(r);
  notify.payload = get_bytes(r);
  if (!r.is_finished() || notify.notify_id == 0) return failure(OsdErrc::kInvalid);
  return notify;
}

void encode(const WatchLost& lost, std::vector<std::byte>& out) {
  ByteWriter w(out);
  put_object_id(w, lost.object);
  w.put(lost.cookie);
  w.put(lost.error);
}

Result<WatchLost> decode_watch_lost(ConstBytes front) {
  ByteReader r(front);
  WatchLost lost;
  lost.object = get_object_id(r);
  lost.cookie = r.get<uint64_t>();
  lost.error = get_errc(r);
  if (!r.is_finished() || lost.error == OsdErrc::kOk) return failure(OsdErrc::kInvalid);
  return lost;
}

void encode(const WatchPing& ping, std::vector<std::byte>& out) { ByteWriter(out).put(ping.stamp); }

Result<WatchPing> decode_watch_ping(ConstBytes front) {
  ByteReader r(front);
  WatchPing ping{r.get<uint64_t>()};
  if (!r.is_finished()) return failure(OsdErrc::kInvalid);
  return ping;
}

}  // namespace lunar::objecter
