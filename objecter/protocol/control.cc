// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/control.h"

#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/wire.h"

namespace lunar::objecter {

void encode(const ServerHello& hello, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put_bytes(hello.fsid.bytes);
  w.put(hello.osd);
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
  hello.incarnation = r.get<uint64_t>();
  hello.verifier = r.get<uint64_t>();
  hello.epoch = r.get<Epoch>();
  hello.remembers_client = get_flag(r);
  if (!r.finished() || hello.osd < 0 || hello.incarnation == 0) return failure(OsdErrc::kInvalid);
  return hello;
}

void encode(const MapSubscribe& subscribe, std::vector<std::byte>& out) {
  ByteWriter(out).put(subscribe.epoch);
}

Result<MapSubscribe> decode_map_subscribe(ConstBytes front) {
  ByteReader r(front);
  MapSubscribe subscribe{r.get<Epoch>()};
  if (!r.finished()) return failure(OsdErrc::kInvalid);
  return subscribe;
}

void encode(const CancelNote& note, std::vector<std::byte>& out) { ByteWriter(out).put(note.tid); }

Result<CancelNote> decode_cancel_note(ConstBytes front) {
  ByteReader r(front);
  CancelNote note{r.get<Tid>()};
  if (!r.finished() || note.tid == 0) return failure(OsdErrc::kInvalid);
  return note;
}

void encode(const OsdBoot& boot, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(boot.osd);
  w.put_bytes(boot.fsid.bytes);
  w.put_bytes(boot.store.bytes);
  w.put(boot.incarnation);
  w.put(boot.epoch);
  put_addresses(w, boot.addresses);
}

Result<OsdBoot> decode_osd_boot(ConstBytes front) {
  ByteReader r(front);
  OsdBoot boot;
  boot.osd = r.get<OsdId>();
  boot.fsid = get_uuid(r);
  boot.store = get_uuid(r);
  boot.incarnation = r.get<uint64_t>();
  boot.epoch = r.get<Epoch>();
  boot.addresses = get_addresses(r);
  if (!r.finished() || boot.osd < 0 || boot.incarnation == 0 || boot.addresses.empty()) {
    return failure(OsdErrc::kInvalid);
  }
  for (const msgr::Address& address : boot.addresses) {
    if (address.port() == 0) return failure(OsdErrc::kInvalid);
  }
  return boot;
}

void encode(const OsdBootReply& reply, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(reply.error);
  w.put(reply.epoch);
  w.put_string(std::string_view(reply.message).substr(0, CommandReply::kMaxTextBytes));
}

Result<OsdBootReply> decode_osd_boot_reply(ConstBytes front) {
  ByteReader r(front);
  OsdBootReply reply;
  reply.error = get_errc(r);
  reply.epoch = r.get<Epoch>();
  reply.message = r.get_string(CommandReply::kMaxTextBytes);
  if (!r.finished()) return failure(OsdErrc::kInvalid);
  return reply;
}

void encode(const CommandReply& reply, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(reply.error);
  w.put(reply.epoch);
  w.put_string(std::string_view(reply.text).substr(0, CommandReply::kMaxTextBytes));
}

Result<CommandReply> decode_command_reply(ConstBytes front) {
  ByteReader r(front);
  CommandReply reply;
  reply.error = get_errc(r);
  reply.epoch = r.get<Epoch>();
  reply.text = r.get_string(CommandReply::kMaxTextBytes);
  if (!r.finished()) return failure(OsdErrc::kInvalid);
  return reply;
}

}  // namespace lunar::objecter
