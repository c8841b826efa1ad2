// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/device/report.h"

#include <gmock/gmock.h>

namespace lunar::msgr::rdma {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Findings healthy() {
  Findings findings;
  findings.local = *Address::parse("10.0.2.15:0");
  findings.modules = {{"ib_core", true}, {"ib_uverbs", true}, {"rdma_ucm", false}};
  DeviceListing device;
  device.name = "rxe0";
  PortListing port;
  port.number = 1;
  port.is_active = true;
  port.is_ethernet = true;
  port.state = "PORT_ACTIVE";
  device.ports = {port};
  const Gid link_local{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  const Gid mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 2, 15};
  device.gids = {{link_local, 0, 1, GidType::kRoceV2, "eth0"},
                 {mapped, 1, 1, GidType::kRoceV2, "eth0"}};
  findings.devices = {device};
  const auto choice = choose_port(findings.devices, findings.options, findings.local);
  if (choice) findings.choice = *choice;
  findings.features = Features{256, true, true, true};
  findings.memlock.limit = Memlock::kUnlimited;
  return findings;
}

TEST(RdmaReportTest, AHealthyHostHasNothingToMend) {
  const Findings findings = healthy();
  EXPECT_THAT(advice_on(findings), IsEmpty());
  const RdmaReport report = render(findings);
  EXPECT_TRUE(report.works);
  EXPECT_EQ(report.text,
            "kernel modules: ib_core loaded, ib_uverbs loaded, rdma_ucm not loaded\n"
            "device rxe0\n"
            "  port 1: PORT_ACTIVE, Ethernet, MTU 1024\n"
            "    GID 0: fe80::1 RoCE v2, eth0\n"
            "  * GID 1: ::ffff:10.0.2.15 RoCE v2, eth0\n"
            "chosen for 10.0.2.15:0: device rxe0, port 1, GID 1\n"
            "tried on it: SRQ yes, inline 256 bytes, memory windows yes, SEND with invalidate yes\n"
            "memory that may be pinned: unlimited; at start 22 MiB are\n"
            "RDMA works here.\n");
}

TEST(RdmaReportTest, NoDeviceAndNoModuleSayHowToGetThem) {
  Findings findings;
  findings.modules = {{"ib_uverbs", false}};
  findings.memlock.limit = Memlock::kUnlimited;
  findings.problem = choose_port({}, findings.options, Address()).error().message;
  EXPECT_THAT(advice_on(findings),
              ElementsAre(HasSubstr("modprobe ib_uverbs"), HasSubstr("rdma link add")));
  const RdmaReport report = render(findings);
  EXPECT_FALSE(report.works);
  EXPECT_THAT(report.text, HasSubstr("RDMA does not work here."));
  EXPECT_THAT(report.json, HasSubstr("\"works\": false"));
}

TEST(RdmaReportTest, TooLittleLockedMemoryMeansThatItDoesNotWork) {
  Findings findings = healthy();
  findings.memlock.limit = 8u << 20;
  const RdmaReport report = render(findings);
  EXPECT_FALSE(report.works);
  EXPECT_THAT(report.text, HasSubstr("LimitMEMLOCK"));
  EXPECT_THAT(report.text, HasSubstr("RDMA does not work here."));
  findings.memlock.is_exempt = true;
  EXPECT_TRUE(render(findings).works);
}

TEST(RdmaReportTest, EachHindranceIsNamed) {
  Findings findings = healthy();
  findings.memlock.limit = 8u << 20;
  findings.features->memory_windows = false;
  findings.choice->gid_type = GidType::kRoceV1;
  findings.options.use_cm = true;
  const auto advice = advice_on(findings);
  EXPECT_THAT(advice, Contains(HasSubstr("LimitMEMLOCK")));
  EXPECT_THAT(advice, Contains(HasSubstr("ms_async_rdma_rkey_scope = arena")));
  EXPECT_THAT(advice, Contains(HasSubstr("RoCE v1")));
  EXPECT_THAT(advice, Contains(HasSubstr("modprobe rdma_ucm")));
  findings.options.rkey_scope = RkeyScope::kArena;
  EXPECT_THAT(advice_on(findings), Not(Contains(HasSubstr("memory windows"))));
}

TEST(RdmaReportTest, JsonMarksTheChosenGid) {
  const std::string json = render(healthy()).json;
  EXPECT_THAT(json, HasSubstr("\"gid\": \"::ffff:10.0.2.15\""));
  EXPECT_THAT(json, HasSubstr("\"chosen\": true"));
  EXPECT_THAT(json, HasSubstr("\"max_inline_bytes\": 256"));
}

}  // namespace
}  // namespace lunar::msgr::rdma
