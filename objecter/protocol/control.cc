// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/control.h"

#include <string_view>
#include <utility>

#include "objecter/protocol/codec/fields.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {
namespace {

// OsdBootReply and CommandReply have the same form: an error, an epoch, a text for a person.
void put_verdict(ByteWriter& w, OsdErrc error, Epoch epoch, std::string_view text,
                 std::size_t limit) {
  w.put(error);
  w.put(epoch);
  w.put_string(text.substr(0, limit));
}

template <typename Reply>
Result<Reply> decode_verdict(ConstBytes front, std::size_t limit) {
  ByteReader r(front);
  const OsdErrc error = get_errc(r);
  const auto epoch = r.get<Epoch>();
  std::string text = r.get_string(limit);
  if (!r.is_finished()) return failure(OsdErrc::kInvalid);
  return Reply{error, epoch, std::move(text)};
}

}  // namespace

bool is_meant(const OsdInfo& osd, const ServerHello& hello) noexcept {
  return hello.osd == osd.id && hello.store == osd.store &&
         (osd.incarnation == 0 || osd.incarnation == hello.incarnation);
}

void encode(const ServerHello& hello, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put_bytes(hello.fsid.bytes);
  w.put(hello.osd);
  w.put_bytes(hello.store.bytes);
  w.put(hello.incarnation);
  w.put(hello.verifier);
  w.put(hello.epoch);
  w.put(hello.remembers_client);
}

Result<ServerHello> decode_server_hello(ConstBytes front) {
  ByteReader r(front);
  ServerHello hello;
  hello.fsid = get_uuid(r);
  hello.osd = r.get<OsdId>();
  hello.store = get_uuid(r);
  hello.incarnation = r.get<uint64_t>();
  hello.verifier = r.get<uint64_t>();
  hello.epoch = r.get<Epoch>();
  hello.remembers_client = get_flag(r);
  if (!r.is_finished() || hello.osd < 0 || hello.incarnation == 0)
    return failure(OsdErrc::kInvalid);
  return hello;
}

void encode(const MapSubscribe& subscribe, std::vector<std::byte>& out) {
  ByteWriter(out).put(subscribe.epoch);
}

Result<MapSubscribe> decode_map_subscribe(ConstBytes front) {
  ByteReader r(front);
  MapSubscribe subscribe{r.get<Epoch>()};
  if (!r.is_finished()) return failure(OsdErrc::kInvalid);
  return subscribe;
}

void encode(const CancelNote& note, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(note.tid);
  if (note.attempt != 0) w.put(note.attempt);
}

Result<CancelNote> decode_cancel_note(ConstBytes front) {
  ByteReader r(front);
  CancelNote note{r.get<Tid>()};
  const bool is_for_all = r.is_finished();
  if (!is_for_all) note.attempt = r.get<uint32_t>();
  if (!r.is_finished() || note.tid == 0 || is_for_all != (note.attempt == 0))
    return failure(OsdErrc::kInvalid);
  return note;
}

void encode(const OsdBoot& boot, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(boot.osd);
  w.put_bytes(boot.fsid.bytes);
  w.put_bytes(boot.store.bytes);
  w.put(boot.incarnation);
  w.put(static_cast<uint8_t>(boot.previous.size()));
  for (const uint64_t each : boot.previous) w.put(each);
  w.put(boot.epoch);
  put_addresses(w, boot.addresses);
  if (!boot.kind) return;
  put_store_kind(w, boot.kind);
  w.put_string(boot.rados_client);
  if (boot.next_pool_id != 0) w.put(boot.next_pool_id);
}

Result<OsdBoot> decode_osd_boot(ConstBytes front) {
  ByteReader r(front);
  OsdBoot boot;
  boot.osd = r.get<OsdId>();
  boot.fsid = get_uuid(r);
  boot.store = get_uuid(r);
  boot.incarnation = r.get<uint64_t>();
  const auto previous = r.get<uint8_t>();
  if (previous > OsdBoot::kMaxPrevious || !r.can_hold(previous, 8)) {
    return failure(OsdErrc::kInvalid);
  }
  for (uint8_t i = 0; i < previous; ++i) boot.previous.push_back(r.get<uint64_t>());
  boot.epoch = r.get<Epoch>();
  boot.addresses = get_addresses(r);
  if (r.ok() && !r.is_finished()) {
    boot.kind = get_store_kind(r);
    boot.rados_client = r.get_string(OsdInfo::kMaxRadosClientBytes);
    const bool is_in_rados = boot.kind == StoreKind::kRados;
    if (!boot.kind || is_in_rados == boot.rados_client.empty() ||
        (is_in_rados && !is_rados_client(boot.rados_client)))
      return failure(OsdErrc::kInvalid);
  }
  if (r.ok() && !r.is_finished()) {
    boot.next_pool_id = r.get<PoolId>();
    if (boot.next_pool_id == 0 || boot.next_pool_id > OsdMap::kMaxPoolId)
      return failure(OsdErrc::kInvalid);
  }
  if (!r.is_finished() || boot.osd < 0 || boot.incarnation == 0 || boot.addresses.empty()) {
    return failure(OsdErrc::kInvalid);
  }
  for (const msgr::Address& address : boot.addresses) {
    if (address.port() == 0) return failure(OsdErrc::kInvalid);
  }
  return boot;
}

void encode(const OsdBootReply& reply, std::vector<std::byte>& out) {
  ByteWriter w(out);
  put_verdict(w, reply.error, reply.epoch, reply.message, OsdBootReply::kMaxMessageBytes);
}

Result<OsdBootReply> decode_osd_boot_reply(ConstBytes front) {
  return decode_verdict<OsdBootReply>(front, OsdBootReply::kMaxMessageBytes);
}

void encode(const CommandReply& reply, std::vector<std::byte>& out) {
  ByteWriter w(out);
  put_verdict(w, reply.error, reply.epoch, reply.text, CommandReply::kMaxTextBytes);
}

Result<CommandReply> decode_command_reply(ConstBytes front, ConstBytes data) {
  auto reply = decode_verdict<CommandReply>(front, CommandReply::kMaxTextBytes);
  if (!reply || data.empty()) return reply;
  if (!reply->text.empty() || data.size() > kMaxCommandText) return failure(OsdErrc::kInvalid);
  reply->text = as_text(data);
  return reply;
}

Result<std::string_view> decode_command(ConstBytes front, ConstBytes data) {
  if (data.empty()) return as_text(front);
  if (!front.empty() || data.size() > kMaxCommandText) return failure(OsdErrc::kInvalid);
  return as_text(data);
}

}  // namespace lunar::objecter
