// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/control.h"

#include <gtest/gtest.h>

#include "objecter/protocol/osd_map.h"
#include "tests/objecter/protocol/exact_decoding.h"

namespace lunar::objecter {
namespace {

ServerHello some_hello() {
  ServerHello hello;
  hello.fsid = Uuid::random();
  hello.osd = 2;
  hello.store = Uuid::random();
  hello.incarnation = 0x1122334455667788;
  hello.verifier = 99;
  hello.epoch = 7;
  hello.remembers_client = true;
  return hello;
}

TEST(ControlTest, ServerHelloSurvivesTheWire) {
  const ServerHello hello = some_hello();
  const Buffer bytes = encoded(hello);
  EXPECT_EQ(bytes.size(), 61u);
  const auto read = decode_server_hello(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->fsid, hello.fsid);
  EXPECT_EQ(read->osd, 2);
  EXPECT_EQ(read->store, hello.store);
  EXPECT_EQ(read->incarnation, hello.incarnation);
  EXPECT_EQ(read->verifier, 99u);
  EXPECT_EQ(read->epoch, 7u);
  EXPECT_TRUE(read->remembers_client);
  expect_exact(bytes, decode_server_hello);
}

TEST(ControlTest, ServerHelloNeedsAnOsdAndAnIncarnation) {
  ServerHello hello = some_hello();
  hello.osd = -1;
  EXPECT_EQ(decode_server_hello(encoded(hello)).error(), make_error_code(OsdErrc::kInvalid));
  hello = some_hello();
  hello.incarnation = 0;
  EXPECT_FALSE(decode_server_hello(encoded(hello)));
  Buffer bytes = encoded(some_hello());
  bytes.back() = std::byte{2};  // a flag is 0 or 1
  EXPECT_FALSE(decode_server_hello(bytes));
}

TEST(ControlTest, SmallMessagesSurviveTheWire) {
  EXPECT_EQ(decode_map_subscribe(encoded(MapSubscribe{5}))->epoch, 5u);
  EXPECT_EQ(decode_cancel_note(encoded(CancelNote{77}))->tid, 77u);
  expect_exact(encoded(MapSubscribe{5}), decode_map_subscribe);
  expect_exact(encoded(CancelNote{77}), decode_cancel_note);
  EXPECT_FALSE(decode_cancel_note(encoded(CancelNote{0})));
}

TEST(ControlTest, RepliesCarryTheirSentence) {
  const auto boot =
      decode_osd_boot_reply(encoded(OsdBootReply{OsdErrc::kExists, 0, "osd.1 is up"}));
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->error, OsdErrc::kExists);
  EXPECT_EQ(boot->message, "osd.1 is up");
  const auto command = decode_command_reply(encoded(CommandReply{OsdErrc::kOk, 12, "{\"a\":1}"}));
  ASSERT_TRUE(command);
  EXPECT_EQ(command->epoch, 12u);
  EXPECT_EQ(command->text, "{\"a\":1}");
  expect_exact(encoded(CommandReply{OsdErrc::kBusy, 1, "no"}),
               [](ConstBytes in) { return decode_command_reply(in); });
  expect_exact(encoded(OsdBootReply{OsdErrc::kBusy, 1, "no"}), decode_osd_boot_reply);
}

TEST(ControlTest, UnknownErrorNumberIsRefused) {
  EXPECT_FALSE(decode_command_reply(encoded(CommandReply{static_cast<OsdErrc>(77), 0, ""})));
  EXPECT_FALSE(decode_osd_boot_reply(encoded(OsdBootReply{static_cast<OsdErrc>(-1), 0, ""})));
}

OsdBoot some_boot() {
  OsdBoot boot;
  boot.osd = 1;
  boot.fsid = Uuid::random();
  boot.store = Uuid::random();
  boot.incarnation = 3;
  boot.previous = {1, 2};
  boot.epoch = 4;
  boot.addresses = {*msgr::Address::parse("127.0.0.1:6800"), *msgr::Address::parse("[::1]:6801")};
  return boot;
}

TEST(ControlTest, OsdBootSurvivesTheWire) {
  const OsdBoot boot = some_boot();
  const auto read = decode_osd_boot(encoded(boot));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->osd, 1);
  EXPECT_EQ(read->fsid, boot.fsid);
  EXPECT_EQ(read->store, boot.store);
  EXPECT_EQ(read->previous, boot.previous);
  EXPECT_EQ(read->addresses, boot.addresses);
  expect_exact(encoded(boot), decode_osd_boot);
}

TEST(ControlTest, OsdBootNamesItsStoreUnlessTheAuthorityIsOlder) {
  OsdBoot boot = some_boot();
  const Buffer before = encoded(boot);
  EXPECT_FALSE(decode_osd_boot(before)->kind);
  boot.kind = StoreKind::kFile;
  EXPECT_EQ(decode_osd_boot(encoded(boot))->kind, StoreKind::kFile);
  boot.rados_client = "v2:10.1.2.3:0/4711";
  EXPECT_FALSE(decode_osd_boot(encoded(boot))) << "a store of files has no client";
  boot.kind = StoreKind::kRados;
  const auto got = decode_osd_boot(encoded(boot));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->kind, StoreKind::kRados);
  EXPECT_EQ(got->rados_client, boot.rados_client);
  boot.rados_client.clear();
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
  boot.rados_client = "two words";
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
  boot.rados_client.assign(OsdInfo::kMaxRadosClientBytes + 1, 'x');
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
  boot.rados_client = "x";
  boot.kind = static_cast<StoreKind>(4);
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
  boot.kind.reset();
  EXPECT_EQ(encoded(boot), before);
}

TEST(ControlTest, OsdBootSaysWhichPoolIdsItKnowsUnlessTheAuthorityIsOlder) {
  OsdBoot boot = some_boot();
  boot.kind = StoreKind::kFile;
  const Buffer before = encoded(boot);
  EXPECT_EQ(decode_osd_boot(before)->next_pool_id, 0u);
  for (const PoolId id : {PoolId{1}, OsdMap::kMaxPoolId}) {
    boot.next_pool_id = id;
    const auto got = decode_osd_boot(encoded(boot));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->next_pool_id, id);
  }
  Buffer longer = encoded(boot);
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_osd_boot(longer));
  boot.next_pool_id = OsdMap::kMaxPoolId + 1;
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
  Buffer none = before;
  ByteWriter(none).put(PoolId{0});
  EXPECT_FALSE(decode_osd_boot(none)) << "0 is said by leaving it out";
}

TEST(ControlTest, CancelNoteOfSomeSendingsSurvivesTheWire) {
  const auto note = decode_cancel_note(encoded(CancelNote{7, 3}));
  ASSERT_TRUE(note);
  EXPECT_EQ(note->attempt, 3u);
  EXPECT_EQ(decode_cancel_note(encoded(CancelNote{7}))->attempt, 0u);
  Buffer none = encoded(CancelNote{7});
  ByteWriter(none).put(uint32_t{0});
  EXPECT_FALSE(decode_cancel_note(none)) << "0 is said by leaving it out";
}

TEST(ControlTest, OsdBootRemembersOnlySoManyStarts) {
  OsdBoot boot = some_boot();
  boot.previous.assign(OsdBoot::kMaxPrevious, 1);
  EXPECT_TRUE(decode_osd_boot(encoded(boot)));
  boot.previous.push_back(2);
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
}

TEST(ControlTest, AServerIsMeantByItsIdStoreAndStart) {
  OsdInfo osd;
  osd.id = 2;
  osd.incarnation = 7;
  ServerHello hello = some_hello();
  hello.incarnation = 7;
  osd.store = hello.store;
  EXPECT_TRUE(is_meant(osd, hello));
  hello.incarnation = 8;
  EXPECT_FALSE(is_meant(osd, hello)) << "a later start that the map does not show yet";
  osd.incarnation = 0;
  EXPECT_TRUE(is_meant(osd, hello)) << "any start may come";
  hello.store = Uuid::random();
  EXPECT_FALSE(is_meant(osd, hello));
  hello.store = osd.store;
  hello.osd = 3;
  EXPECT_FALSE(is_meant(osd, hello));
}

TEST(ControlTest, OsdBootWithoutAUsableAddressIsRefused) {
  OsdBoot boot = some_boot();
  boot.addresses.clear();
  EXPECT_FALSE(decode_osd_boot(encoded(boot)));
  boot.addresses = {*msgr::Address::parse("127.0.0.1")};
  EXPECT_FALSE(decode_osd_boot(encoded(boot))) << "port 0";
}

TEST(ControlTest, AddressBytesAreChecked) {
  Buffer bytes = encoded(some_boot());
  const std::size_t first_family = 4 + 16 + 16 + 8 + (1 + 2 * 8) + 8 + 1;
  ASSERT_EQ(bytes[first_family], std::byte{4});
  Buffer bad = bytes;
  bad[first_family] = std::byte{5};
  EXPECT_FALSE(decode_osd_boot(bad)) << "no such family";
  bad = bytes;
  bad[first_family + 8] = std::byte{1};
  EXPECT_FALSE(decode_osd_boot(bad)) << "IPv4 with a tail";
  bad = bytes;
  bad[first_family - 1] = std::byte{OsdInfo::kMaxAddresses + 1};
  EXPECT_FALSE(decode_osd_boot(bad)) << "too many";
}

TEST(ControlTest, ALongAnswerIsTheDataOfItsMessage) {
  const Buffer front = encoded(CommandReply{OsdErrc::kOk, 12, ""});
  const std::string text(kMaxCommandText, 'x');
  const auto reply = decode_command_reply(front, as_const_bytes(text));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->epoch, 12u);
  EXPECT_EQ(reply->text, text);
  EXPECT_FALSE(decode_command_reply(front, as_const_bytes(text + "x")));
  const Buffer both = encoded(CommandReply{OsdErrc::kOk, 12, "{}"});
  EXPECT_FALSE(decode_command_reply(both, as_const_bytes("{}")));
}

TEST(ControlTest, ACommandIsTheFrontOrTheData) {
  const std::string text = "{}";
  EXPECT_EQ(decode_command(as_const_bytes(text), {}), "{}");
  EXPECT_EQ(decode_command({}, as_const_bytes(text)), "{}");
  EXPECT_FALSE(decode_command(as_const_bytes(text), as_const_bytes(text)));
  EXPECT_FALSE(decode_command({}, as_const_bytes(std::string(kMaxCommandText + 1, 'x'))));
}

}  // namespace
}  // namespace lunar::objecter
