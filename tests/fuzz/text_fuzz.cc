// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Texts that people and other hosts write: configuration, keyrings, capabilities, JSON commands to
// the map authority, image headers, names and directories of images, counters of gateways, lists of
// servers. What is accepted says the same when it is written and read again; what is refused gets a
// sentence. The first byte of an input chooses the parser.

#include <string>

#include "common/check.h"
#include "common/config.h"
#include "common/keyring.h"
#include "gateway/image_counts.h"
#include "gateway/image_header.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "objecter/cluster/mon_host.h"
#include "objecter/protocol/capabilities.h"
#include "osd/map/map_commands.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using Buffer = std::vector<std::byte>;

enum Kind : uint8_t {
  kConfig,
  kKeyring,
  kCapabilities,
  kCommand,
  kHeader,
  kSpec,
  kName,
  kDirectory,
  kCounts,
  kMonHost,
  kKinds
};

template <typename T>
void expect_sentence(const Outcome<T>& outcome) {
  if (!outcome) LUNAR_CHECK(!outcome.error().message.empty(), "an error without a sentence");
}

void check_config(std::string_view text) {
  Config config(*EntityName::parse("osd.3"));
  expect_sentence(config.load_text(text, "fuzz"));
}

void check_capabilities(std::string_view text) {
  const auto once = objecter::parse_capabilities(text);
  expect_sentence(once);
  if (!once) return;
  const auto twice = objecter::parse_capabilities(to_string(*once));
  // Profiles are longer when they are written out, so the bound can be passed.
  LUNAR_CHECK(!twice || *twice == *once, "capabilities that are other ones when read again");
}

void check_command(std::string_view text) {
  objecter::OsdMap map =
      osd::make_first_map(*Uuid::parse("01234567-89ab-4def-8123-456789abcdef"), 0,
                          *Uuid::parse("11111111-1111-4111-8111-111111111111"));
  map.next_pool_id = 2;
  map.pools.emplace_back();
  map.pools[0].id = 1;
  map.pools[0].name = "rbd";
  map.pools[0].members = {{0}};
  const osd::CommandChange change = osd::run_map_command(map, text);
  LUNAR_CHECK(!change.reply.text.empty(), "an answer without a text");
  LUNAR_CHECK(change.reply.error == objecter::OsdErrc::kOk || !change.next,
              "a refused command that changes the map");
}

void check_header(std::string_view text) {
  const auto header = gateway::decode_image_header(text, "0000000000000001.header");
  expect_sentence(header);
  if (!header) return;
  const auto again = gateway::decode_image_header(encode(*header), "0000000000000001.header");
  LUNAR_CHECK(again.has_value(), "a header that cannot be read again");
}

void check_name(std::string_view text) {
  const auto id = gateway::decode_name(text, "name.disk1");
  expect_sentence(id);
  if (!id) return;
  const auto again = gateway::decode_name(gateway::encode_name(*id), "name.disk1");
  LUNAR_CHECK(again && *again == *id, "a name of another image when read again");
}

void check_directory(std::string_view text) {
  const auto directory = gateway::decode_old_directory(text);
  expect_sentence(directory);
  if (!directory) return;
  const auto again = gateway::decode_old_directory(gateway::encode_old_directory(*directory));
  LUNAR_CHECK(again && again->images == directory->images, "other images when read again");
}

void check_counts(std::string_view text) {
  const auto counts = gateway::decode_image_counts(text);
  if (!counts) return;
  const std::string again = gateway::encode(*counts);
  const auto once_more = gateway::decode_image_counts(again);
  LUNAR_CHECK(once_more && gateway::encode(*once_more) == again, "other counters when read again");
}

void check_mon_host(std::string_view text) {
  const auto addresses = objecter::parse_mon_host(text);
  expect_sentence(addresses);
  if (!addresses) return;
  std::string again;
  for (const msgr::Address& address : *addresses) again += address.to_string() + ",";
  const auto once_more = objecter::parse_mon_host(again);
  LUNAR_CHECK(once_more && *once_more == *addresses, "other servers when read again");
}

}  // namespace

std::vector<Buffer> seeds() {
  std::vector<Buffer> out;
  const auto add = [&out](Kind kind, std::string_view text) {
    Buffer bytes;
    ByteWriter w(bytes);
    w.put(kind);
    w.put_bytes(as_const_bytes(text));
    out.push_back(std::move(bytes));
  };
  add(kConfig,
      "[global]\nfsid = 01234567-89ab-4def-8123-456789abcdef\nmon host = 127.0.0.1:6800\n"
      "[osd]\ndebug osd = 1/5 # c\nosd_data = /var/lib/$cluster-$id\n[osd.3]\nlog_file = x\n");
  add(kKeyring, "[client.admin]\n\tkey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
  add(kCapabilities,
      "allow rw pool=rbd image=disk1 image_id=00c0ffee00c0ffee, profile rbd; allow *");
  add(kCommand, R"({"prefix": "pool create", "pool": "p", "pg_num": "8", "osds": [0],)"
                R"( "weights": [1.5], "object_size": "4M", "store": "mem"})");
  add(kCommand, R"({"prefix": "auth caps", "entity": "client.a", "caps": "allow r pool=rbd"})");
  add(kCommand,
      R"({"prefix": "osd replace", "osd": 0, "store": "11111111-1111-4111-8111-111111111112"})");
  add(kCommand, R"({"prefix": "map restore", "osd_lost": [0], "yes_i_really_mean_it": true, "map":)"
                R"( {"format": 2, "fsid": "01234567-89ab-4def-8123-456789abcdef", "epoch": 1,)"
                R"( "authority": 0, "next_pool_id": 1, "osds": [{"id": 0, "store":)"
                R"( "11111111-1111-4111-8111-111111111111", "up": false, "incarnation": 0,)"
                R"( "lost_below": 0, "addresses": []}], "pools": []}})");
  gateway::ImageHeader header;
  header.id = 1;
  header.name = "disk1";
  header.size = 64u << 20;
  header.registrations.push_back({"client.admin", "host/1", 7, 9, {}});
  add(kHeader, encode(header));
  add(kSpec, "rbd/disk1@snap");
  add(kName, gateway::encode_name(1));
  add(kDirectory, gateway::encode_old_directory({false, {{"disk1", 1}, {"disk2", 2}}}));
  add(kDirectory, gateway::encode_old_directory({true, {{"disk1", 1}}}));
  gateway::ImageCounts counts;
  counts.reads = counts.write_bytes = 7;
  add(kCounts, gateway::encode(counts));
  add(kMonHost, "127.0.0.1:6800, [::1]:6801\t[2001:db8::2]:6802");
  return out;
}

void run_one(ConstBytes input) {
  if (input.empty()) return;
  const std::string text(as_text(input.subspan(1)));  // a block of its own, for the sanitizer
  switch (static_cast<Kind>(static_cast<uint8_t>(input[0]) % kKinds)) {
    case kConfig:
      return check_config(text);
    case kKeyring:
      return expect_sentence(Keyring::parse(text, "fuzz"));
    case kCapabilities:
      return check_capabilities(text);
    case kCommand:
      return check_command(text);
    case kHeader:
      return check_header(text);
    case kSpec:
      return expect_sentence(gateway::ImageSpec::parse(text));
    case kName:
      return check_name(text);
    case kDirectory:
      return check_directory(text);
    case kCounts:
      return check_counts(text);
    case kMonHost:
      return check_mon_host(text);
    case kKinds:
      return;
  }
}

}  // namespace lunar::fuzz
