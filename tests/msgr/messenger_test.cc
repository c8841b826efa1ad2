// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/messenger.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/config.h"
#include "msgr/posix/posix_stack.h"
#include "tests/msgr/session/session_fixture.h"
#include "tests/support/descriptors.h"
#include "tests/support/messenger_options.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class MessengerTest : public ::testing::Test {
 protected:
  MessengerTest()
      : center_(std::move(*EventCenter::create({}))), stack_(std::move(*PosixStack::create({}))) {}

  Outcome<std::unique_ptr<Messenger>> create(MessengerOptions options,
                                             const Keyring* keyring = nullptr) {
    return Messenger::create(*center_, *stack_, std::move(options), keyring, &perf_, &events_);
  }
  void shut_down(Messenger& messenger) {
    bool done = false;
    messenger.shutdown([&] { done = true; });
    EXPECT_FALSE(done) << "never inside the call";
    EXPECT_TRUE(test::turn_until(*center_, [&] { return done; }));
  }

  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<PosixStack> stack_;
  PerfRegistry perf_;
  Recorder events_;
};

TEST_F(MessengerTest, RefusesToListenForOtherHostsWithoutAuthentication) {
  auto messenger = std::move(*create(test::without_authentication()));
  for (const char* address : {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"}) {
    const auto bound = messenger->bind(*Address::parse(address), Policy::kStatefulServer);
    ASSERT_FALSE(bound.has_value());
    EXPECT_EQ(bound.error().code, std::errc::permission_denied);
    EXPECT_THAT(bound.error().message, HasSubstr("without authentication"));
  }
  shut_down(*messenger);
}

TEST_F(MessengerTest, ListensAnywhereWithAuthentication) {
  Keyring keyring;
  keyring.generate({"osd", "0"});
  MessengerOptions options;
  options.auth_required = true;
  auto messenger = std::move(*create(options, &keyring));
  EXPECT_TRUE(messenger->bind(*Address::parse("0.0.0.0:0"), Policy::kStatefulServer).has_value());
  shut_down(*messenger);
}

TEST_F(MessengerTest, RefusesToRequireAuthenticationWithoutKeys) {
  MessengerOptions options;
  options.entity = "osd.0";
  options.auth_required = true;
  const auto made = create(options);
  ASSERT_FALSE(made.has_value());
  EXPECT_THAT(made.error().message,
              HasSubstr("osd.0 is to authenticate its peers and has no keys"));
}

TEST_F(MessengerTest, RefusesToBeSecureWithoutKeys) {
  MessengerOptions options = test::without_authentication();
  options.modes.client = *WireModes::parse("secure");
  options.entity = "client.a";
  EXPECT_THAT(create(options).error().message,
              HasSubstr("client.a is to take only secure links (ms_client_mode) and has no keys"));
}

TEST_F(MessengerTest, RefusesNamesThatNoPeerWouldTake) {
  MessengerOptions options = test::without_authentication();
  options.entity = "nobody";
  EXPECT_THAT(create(options).error().message, HasSubstr("'nobody' is not an entity"));
  options.entity = "osd.0";
  options.instance = "with space";
  EXPECT_THAT(create(options).error().message, HasSubstr("instance"));
}

TEST_F(MessengerTest, SaysThatAPortIsInUse) {
  auto messenger = std::move(*create(test::without_authentication()));
  const auto first = messenger->bind(Address::loopback(), Policy::kStatefulServer);
  ASSERT_TRUE(first.has_value());
  const auto second = messenger->bind(*first, Policy::kStatefulServer);
  ASSERT_FALSE(second.has_value());
  EXPECT_THAT(second.error().message, HasSubstr(first->to_string()));
  shut_down(*messenger);
}

// Bytes that are not a frame: the link of that peer ends, and all others go on.
TEST_F(MessengerTest, SurvivesGarbage) {
  auto server = std::move(*create(test::without_authentication()));
  const Address address = *server->bind(Address::loopback(), Policy::kStatefulServer);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(storage);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&storage), length), 0);
  const std::string garbage = "GET / HTTP/1.1\r\nHost: lunar\r\n\r\n" + std::string(100, '\n');
  ASSERT_EQ(::send(fd, garbage.data(), garbage.size(), 0), static_cast<ssize_t>(garbage.size()));
  char byte = 0;
  ssize_t got = -1;
  ASSERT_TRUE(test::turn_until(*center_, [&] {
    got = recv(fd, &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
  }));
  ::close(fd);
  EXPECT_EQ(events_.opens, 0);

  Recorder client_events;
  auto client = std::move(*Messenger::create(*center_, *stack_, test::without_authentication(),
                                             nullptr, nullptr, &client_events));
  auto connection = client->connect(address, Policy::kLosslessClient);
  EXPECT_TRUE(test::turn_until(*center_, [&] { return client_events.opens == 1; }));
  shut_down(*client);
  shut_down(*server);
}

TEST_F(MessengerTest, ShutdownLeavesNoDescriptorsAndNoBuffers) {
  const auto before = test::own_descriptors();
  {
    auto server = std::move(*create(test::without_authentication()));
    server->bind(Address::loopback(), Policy::kStatefulServer);
    const Address address = *server->bind(*Address::parse("[::1]:0"), Policy::kStatefulServer);
    Recorder client_events;
    auto client = std::move(*Messenger::create(*center_, *stack_, test::without_authentication(),
                                               nullptr, nullptr, &client_events));
    Probe probe;
    auto connection = client->connect(address, Policy::kLosslessClient);
    ASSERT_TRUE(test::turn_until(*center_, [&] { return client_events.opens == 1; }));
    for (uint64_t tid = 1; tid <= 50; ++tid) {
      connection->send(
          std::make_unique<ProbeMessage>(probe, meta(tid), "", std::string(100'000, 'x')));
    }
    ASSERT_TRUE(test::turn_until(*center_, [&] { return events_.received.size() >= 3; }));
    shut_down(*client);
    EXPECT_EQ(probe.alive, 0);
    shut_down(*server);
  }
  EXPECT_EQ(test::own_descriptors(), before);
  EXPECT_EQ(stack_->buffers().bytes_in_use(), 0u);
}

TEST_F(MessengerTest, ShutdownEndsConnectsThatAreUnderWay) {
  auto client = std::move(*create(test::without_authentication()));
  // A documentation address: nobody answers.
  client->connect(*Address::parse("192.0.2.1:6800"), Policy::kLosslessClient);
  client->connect(*Address::parse("127.0.0.1:1"), Policy::kLosslessClient);
  center_->process();
  shut_down(*client);
  EXPECT_TRUE(client->connections().empty());
  EXPECT_FALSE(client->connect(Address::loopback(1), Policy::kLosslessClient)->is_open());
}

TEST(MessengerOptionsTest, AreReadFromTheConfig) {
  Config config(EntityName{"client", "gw"});
  ASSERT_TRUE(config
                  .load_text("[global]\nms_initial_backoff = 50ms\nms_max_backoff = 2s\n"
                             "auth_client_required = none\nms_dispatch_throttle_bytes = 2MiB\n"
                             "ms_inject_socket_failures = 500\nms_crc_data = false\n"
                             "ms_max_data_bytes = 8MiB\n",
                             "test")
                  .has_value());
  const auto options = MessengerOptions::from_config(config);
  ASSERT_TRUE(options.has_value());
  EXPECT_EQ(options->entity, "client.gw");
  EXPECT_EQ(options->initial_backoff, 50ms);
  EXPECT_EQ(options->max_backoff, 2s);
  EXPECT_FALSE(options->auth_required);
  EXPECT_FALSE(options->crc_data);
  EXPECT_EQ(options->dispatch_throttle_bytes, 2u << 20);
  EXPECT_EQ(options->inject_socket_failures, 500u);
  EXPECT_EQ(options->limits.max_data_bytes, 8u << 20);
}

TEST(MessengerOptionsTest, AServerAuthenticatesIfClientsOrServersMust) {
  Config config(EntityName{"osd", "0"});
  EXPECT_TRUE(MessengerOptions::from_config(config)->auth_required) << "the default";
  ASSERT_TRUE(config.set("auth_service_required", "none").has_value());
  EXPECT_TRUE(MessengerOptions::from_config(config)->auth_required);
  ASSERT_TRUE(config.set("auth_cluster_required", "none").has_value());
  EXPECT_FALSE(MessengerOptions::from_config(config)->auth_required);
}

TEST(MessengerOptionsTest, DefaultsAreThoseOfTheTable) {
  EXPECT_EQ(MessengerOptions(), *MessengerOptions::from_config(Config()));
}

TEST(MessengerOptionsTest, ContradictionsAreExplained) {
  Config config;
  ASSERT_TRUE(config.set("ms_max_backoff", "10ms").has_value());
  EXPECT_THAT(MessengerOptions::from_config(config).error().message, HasSubstr("ms_max_backoff"));
  Config other;
  ASSERT_TRUE(other.set("ms_keepalive_timeout", "1s").has_value());
  EXPECT_THAT(MessengerOptions::from_config(other).error().message,
              HasSubstr("ms_keepalive_interval"));
}

TEST(MakeNetworkStackTest, MakesThePosixStackWithOrWithoutFaults) {
  Config config;
  EXPECT_TRUE(make_network_stack(config).has_value());
  ASSERT_TRUE(config.set("ms_inject_socket_failures", "100").has_value());
  ASSERT_TRUE(config.set("ms_inject_seed", "7").has_value());
  EXPECT_TRUE(make_network_stack(config).has_value());
}

// On a host without the requested device, RDMA falls back to TCP or fails, as the options say.
TEST(MakeNetworkStackTest, WithoutADeviceRdmaIsTcpOrARefusal) {
  Config config;
  ASSERT_TRUE(config.set("ms_type", "async+rdma").has_value());
  ASSERT_TRUE(config.set("ms_async_rdma_device_name", "no-such-device").has_value());
  PerfRegistry perf;
  {
    const auto stack = make_network_stack(config, &perf);
    ASSERT_TRUE(stack.has_value()) << stack.error().message;
    EXPECT_TRUE((*stack)->supports_one_sided()) << "a device may come";
    EXPECT_TRUE((*stack)->front_end_buffers().allocate(65536));
    EXPECT_THAT(perf.dump("rdma"), HasSubstr("\"fallbacks\""));
  }
  ASSERT_TRUE(config.set("ms_async_rdma_fallback", "false").has_value());
  const auto refused = make_network_stack(config);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("RDMA device"));
  EXPECT_THAT(refused.error().message, HasSubstr("ms_async_rdma_fallback"));
}

}  // namespace
}  // namespace lunar::msgr
