// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Devices, arenas and whole messengers on real verbs. For a host of its own with one soft-RoCE
// device, rxe0 on eth0, and root's rights: the VM lane.
#include <gmock/gmock.h>
#include <rdma/rdma_cma.h>

#include <cstdlib>
#include <fstream>
#include <future>
#include <thread>

#include "common/config.h"
#include "common/memlock.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/link/endpoint_info.h"
#include "msgr/rdma/memory/arena.h"
#include "msgr/rdma/rdma_stack.h"
#include "tests/msgr/session/session_fixture.h"
#include "tests/support/descriptors.h"
#include "tests/support/turn_until.h"

namespace lunar::msgr::rdma {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(DeviceVerbsTest, ListsTheDeviceItsPortAndItsGids) {
  const auto devices = list_devices();
  ASSERT_TRUE(devices) << devices.error().message;
  ASSERT_FALSE(devices->empty());
  const DeviceListing& device = devices->front();
  EXPECT_EQ(device.name, "rxe0");
  EXPECT_EQ(device.problem, "");
  ASSERT_FALSE(device.ports.empty());
  EXPECT_TRUE(device.ports[0].is_active) << device.ports[0].state;
  EXPECT_TRUE(device.ports[0].is_ethernet);
  const auto choice = choose_port(*devices, RdmaOptions(), *Address::parse("10.0.2.15:1"));
  ASSERT_TRUE(choice) << choice.error().message;
  EXPECT_EQ(choice->gid_type, GidType::kRoceV2);
  EXPECT_EQ(choice->gid[15], 15);
}

TEST(DeviceVerbsTest, OpensAndProbesWithoutLeavingAnythingBehind) {
  const auto descriptors = test::own_descriptors();
  for (int i = 0; i < 3; ++i) {
    const auto device = Device::open("rxe0");
    ASSERT_TRUE(device) << device.error().message;
    EXPECT_EQ((*device)->id(), 0u) << "ids are reused";
    const Features& features = (*device)->features();
    RecordProperty("inline", static_cast<int>(features.max_inline_bytes));
    RecordProperty("windows", features.memory_windows);
    RecordProperty("send_with_invalidate", features.send_with_invalidate);
    EXPECT_TRUE(features.srq);
    EXPECT_GE(features.max_inline_bytes, 64u);
  }
  EXPECT_EQ(test::own_descriptors(), descriptors);
  EXPECT_FALSE(Device::open("no-such-device"));
}

TEST(ArenaVerbsTest, RegistersWhatThereIsAndWhatComes) {
  ServiceThread service;
  auto arena = Arena::create({.budget_bytes = 32u << 20, .initial_bytes = 4u << 20}, service);
  ASSERT_TRUE(arena);
  auto device = Device::open("rxe0");
  ASSERT_TRUE(device) << device.error().message;
  const std::size_t before = bytes_pinned();
  {
    const RegisteredBuffer early = (*arena)->allocate(8192);
    ASSERT_TRUE(early);
    EXPECT_EQ((*arena)->find(**device, early.bytes().data(), 8192), nullptr);
    const auto attached = (*arena)->attach(*device);
    ASSERT_TRUE(attached) << attached.error().message;
    const MemoryKeys* keys = (*arena)->find(**device, early.bytes().data(), 8192);
    ASSERT_NE(keys, nullptr);
    EXPECT_EQ(keys->lkey, keys->mr->lkey);
    EXPECT_EQ(bytes_pinned() - before, 4u << 20);
    EXPECT_EQ(raise_memlock().pinned, bytes_pinned());

    EXPECT_FALSE((*arena)->allocate(8u << 20));
    std::promise<void> grown;
    ASSERT_FALSE(service.run([&] { grown.set_value(); }));
    grown.get_future().wait();
    const RegisteredBuffer late = (*arena)->allocate(8u << 20);
    ASSERT_TRUE(late);
    EXPECT_NE((*arena)->find(**device, late.bytes().data(), late.bytes().size()), nullptr);
    EXPECT_EQ((*arena)->find(**device, late.bytes().data(), 17u << 20), nullptr);
    (*arena)->detach(**device);
    EXPECT_EQ((*arena)->find(**device, late.bytes().data(), 1), nullptr);
  }
  EXPECT_EQ(bytes_pinned(), before);
  EXPECT_EQ(device->use_count(), 1);
}

// A server and clients, each with a stack of its own, on one center.
class StackVerbsTest : public ::testing::Test {
 protected:
  struct Side {
    std::unique_ptr<PerfRegistry> perf = std::make_unique<PerfRegistry>();
    std::unique_ptr<NetworkStack> stack;
    std::unique_ptr<Recorder> events = std::make_unique<Recorder>();
    std::unique_ptr<Messenger> messenger;
  };
  StackVerbsTest() : center_(std::move(*EventCenter::create({}))) {
    for (const char* name : {"osd.0", "client.a", "client.b"}) {
      keyring_.generate(*EntityName::parse(name));
    }
    address_ = *Address::parse("10.0.2.15:0");
  }

  std::unique_ptr<Side> make(const std::string& entity,
                             std::initializer_list<std::pair<const char*, const char*>> with = {},
                             const Keyring* keys = nullptr) {
    auto side = std::make_unique<Side>();
    Config config;
    EXPECT_TRUE(config.set("ms_type", "async+rdma"));
    EXPECT_TRUE(config.set("ms_async_rdma_fallback_timeout", "10s"));  // emulated processors
    for (const auto& [name, value] : with) EXPECT_TRUE(config.set(name, value)) << name;
    auto stack = make_network_stack(config, side->perf.get());
    EXPECT_TRUE(stack) << stack.error().message;
    if (!stack) return nullptr;
    side->stack = std::move(*stack);
    MessengerOptions options;
    options.entity = entity;
    options.auth_required = true;
    options.initial_backoff = 10ms;
    options.max_backoff = 200ms;
    options.connection_ready_timeout = 30s;
    auto messenger =
        Messenger::create(*center_, *side->stack, options, keys != nullptr ? keys : &keyring_,
                          side->perf.get(), side->events.get());
    EXPECT_TRUE(messenger) << messenger.error().message;
    side->messenger = std::move(*messenger);
    return side;
  }
  std::unique_ptr<Side> serve(
      std::initializer_list<std::pair<const char*, const char*>> with = {}) {
    auto server = make("osd.0", with);
    server->events->when_message = [](Connection& from, InMessage& message) {
      send(from, message.meta.tid, std::string(as_text(message.front)));
    };
    auto bound = server->messenger->bind(address_, Policy::kStatefulServer);
    EXPECT_TRUE(bound) << bound.error().message;
    if (bound) address_ = *bound;
    return server;
  }
  static void send(Connection& to, uint64_t tid, std::string front) {
    const ConstBytes bytes = as_const_bytes(front);
    to.send(std::make_unique<SimpleMessage>(meta(tid),
                                            std::vector<std::byte>(bytes.begin(), bytes.end())));
  }
  bool until(const std::function<bool()>& done) { return test::turn_until(*center_, done, 60s); }
  bool echo(Side& client, const ConnectionRef& connection, uint64_t tid, std::size_t bytes = 100) {
    const std::size_t before = client.events->received.size();
    send(*connection, tid, std::string(bytes, static_cast<char>('a' + tid % 26)));
    if (!until([&] { return client.events->received.size() > before; })) return false;
    const auto& got = client.events->received.back();
    return got.tid == tid && got.front == std::string(bytes, static_cast<char>('a' + tid % 26));
  }
  void end(std::unique_ptr<Side>& side) {
    bool done = false;
    side->messenger->shutdown([&] { done = true; });
    ASSERT_TRUE(until([&] { return done; }));
    side->messenger.reset();
    side->stack.reset();
    side.reset();
  }
  static uint64_t counter(const Side& side, const std::string& name,
                          const std::string& group = "rdma") {
    const std::string dump = side.perf->dump(group);
    const std::string key = "\"" + name + "\":";
    const std::size_t at = dump.find(key);
    EXPECT_NE(at, std::string::npos) << name << " in " << dump;
    return at == std::string::npos ? 0 : std::strtoull(dump.c_str() + at + key.size(), nullptr, 10);
  }

  Keyring keyring_;
  std::unique_ptr<EventCenter> center_;
  Address address_;
};

// First: librdmacm, once used, keeps its own context of the last device open for good.
TEST_F(StackVerbsTest, ADeviceThatIsRemovedAndAddedAgainIsUsedAgain) {
  auto server = serve();
  auto client = make("client.a");
  ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(echo(*client, connection, 1));
  std::promise<int> ended;
  auto removal = ended.get_future();
  std::thread([ended = std::move(ended)]() mutable {
    ended.set_value(std::system("rdma link delete rxe0"));
  }).detach();  // joined, a failure of this test would be a hang
  ASSERT_TRUE(until([&] { return removal.wait_for(0s) == std::future_status::ready; }))
      << "somebody kept the device open";
  EXPECT_EQ(removal.get(), 0);
  ASSERT_TRUE(echo(*client, connection, 2)) << "over TCP meanwhile";
  EXPECT_EQ(counter(*client, "devices_removed"), 1u);
  EXPECT_EQ(counter(*client, "devices_open"), 0u);
  ASSERT_EQ(std::system("rdma link add rxe0 type rxe netdev eth0"), 0);
  ASSERT_TRUE(until([] {
    std::ifstream state("/sys/class/infiniband/rxe0/ports/1/state");
    std::string text;
    std::getline(state, text);
    return text.find("ACTIVE") != std::string::npos;
  }));
  // A session that runs on TCP stays there until its next link.
  auto later = make("client.b");
  ConnectionRef second = later->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(echo(*later, second, 1));
  EXPECT_EQ(counter(*later, "links_rdma"), 1u);
  second.reset();
  end(later);
  EXPECT_EQ(client->events->resets.size(), 0u);
  connection.reset();
  end(client);
  end(server);
  EXPECT_EQ(bytes_pinned(), 0u);
}

TEST_F(StackVerbsTest, MessagesTravelByRdmaThatTheCmSetUp) {
  auto server = serve({{"ms_async_rdma_cm", "true"}});
  auto client = make("client.a", {{"ms_async_rdma_cm", "true"}, {"ms_async_rdma_dscp", "10"}});
  ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
  for (uint64_t tid = 1; tid <= 20; ++tid) ASSERT_TRUE(echo(*client, connection, tid, tid * 2000));
  EXPECT_EQ(counter(*client, "links_rdma"), 1u);
  EXPECT_EQ(counter(*server, "links_rdma"), 1u);
  EXPECT_EQ(counter(*client, "fallbacks"), 0u);
  connection.reset();
  end(client);
  end(server);
  EXPECT_EQ(bytes_pinned(), 0u);
}

TEST_F(StackVerbsTest, ConnectionsOfTheCmComeAndGoWithoutLeaks) {
  auto server = serve({{"ms_async_rdma_cm", "true"}});
  int fds = 0;
  for (int i = 0; i < 10; ++i) {
    auto client = make("client.a", {{"ms_async_rdma_cm", "true"}});
    ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
    ASSERT_TRUE(echo(*client, connection, 1)) << i;
    EXPECT_EQ(counter(*client, "links_rdma"), 1u);
    connection.reset();
    end(client);
    ASSERT_TRUE(until([&] { return server->events->links_down == i + 1; }));
    if (i == 2) fds = test::own_descriptor_count();
  }
  EXPECT_TRUE(until([&] { return test::own_descriptor_count() <= fds; }))
      << test::own_descriptor_count() << " fds for " << fds;
  end(server);
}

TEST_F(StackVerbsTest, WithoutACmListenerThereIsTcpOrARefusal) {
  auto server = serve();  // by TCP alone
  auto client = make("client.a", {{"ms_async_rdma_cm", "true"}});
  ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(echo(*client, connection, 1));
  EXPECT_EQ(counter(*client, "links_tcp"), 1u);
  EXPECT_EQ(counter(*client, "fallbacks"), 1u);
  connection.reset();
  end(client);
  auto strict =
      make("client.b", {{"ms_async_rdma_cm", "true"}, {"ms_async_rdma_fallback", "false"}});
  connection = strict->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return counter(*strict, "fallbacks") >= 2; }));
  EXPECT_EQ(strict->events->opens, 0);
  connection.reset();
  end(strict);
  end(server);
}

// What becomes of a request of rdma_cm with these private data, from somebody without a handshake.
rdma_cm_event_type request_by_cm(const Address& to, const std::vector<std::byte>& private_data) {
  rdma_event_channel* const channel = rdma_create_event_channel();
  rdma_cm_id* id = nullptr;
  EXPECT_EQ(rdma_create_id(channel, &id, nullptr, RDMA_PS_TCP), 0);
  const auto next = [&] {
    rdma_cm_event* event = nullptr;
    EXPECT_EQ(rdma_get_cm_event(channel, &event), 0);
    const rdma_cm_event_type type = event->event;
    rdma_ack_cm_event(event);
    return type;
  };
  sockaddr_storage storage{};
  to.to_sockaddr(storage);
  EXPECT_EQ(rdma_resolve_addr(id, nullptr, reinterpret_cast<sockaddr*>(&storage), 5000), 0);
  EXPECT_EQ(next(), RDMA_CM_EVENT_ADDR_RESOLVED);
  EXPECT_EQ(rdma_resolve_route(id, 5000), 0);
  EXPECT_EQ(next(), RDMA_CM_EVENT_ROUTE_RESOLVED);
  rdma_conn_param param{};
  param.private_data = private_data.data();
  param.private_data_len = static_cast<uint8_t>(private_data.size());
  param.qp_num = 0x4242;
  EXPECT_EQ(rdma_connect(id, &param), 0);
  const rdma_cm_event_type answer = next();
  rdma_destroy_id(id);
  rdma_destroy_event_channel(channel);
  return answer;
}

TEST_F(StackVerbsTest, AStrangerIsRejectedByTheCmBeforeAnythingIsMadeForIt) {
  auto server = serve({{"ms_async_rdma_cm", "true"}});
  EndpointInfo info;
  info.segment_bytes = 8192;
  info.credits = 4;
  CmTicket guess{};
  guess.fill(std::byte{1});
  const std::vector<std::byte> good = encode_private_data({info, guess});
  std::vector<std::byte> old = good;
  old[0] = std::byte{1};
  // A listener begins when its service thread has got there; before that the kernel rejects.
  for (int i = 0; i < 1000 && counter(*server, "cm_requests_refused") == 0; ++i)
    ASSERT_EQ(request_by_cm(address_, good), RDMA_CM_EVENT_REJECTED);
  const uint64_t before = counter(*server, "cm_requests_refused");
  ASSERT_EQ(before, 1u);
  for (const auto& told : {good, old, std::vector<std::byte>{}, std::vector<std::byte>(28)})
    EXPECT_EQ(request_by_cm(address_, told), RDMA_CM_EVENT_REJECTED);
  EXPECT_EQ(counter(*server, "cm_requests_refused"), before + 4);
  EXPECT_EQ(counter(*server, "devices_open"), 0u);
  EXPECT_EQ(bytes_pinned(), 0u);

  auto client = make("client.a", {{"ms_async_rdma_cm", "true"}});
  ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(echo(*client, connection, 1));
  EXPECT_EQ(counter(*client, "links_rdma"), 1u);
  EXPECT_EQ(request_by_cm(address_, good), RDMA_CM_EVENT_REJECTED);
  ASSERT_TRUE(echo(*client, connection, 2));
  EXPECT_EQ(server->events->links_down, 0);
  connection.reset();
  end(client);
  end(server);
}

TEST_F(StackVerbsTest, AWrongKeyGetsNoTicketOfTheCm) {
  auto server = serve({{"ms_async_rdma_cm", "true"}});
  Keyring wrong;
  wrong.generate(*EntityName::parse("client.a"));
  auto client = make("client.a", {{"ms_async_rdma_cm", "true"}}, &wrong);
  ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return counter(*server, "auth_failed", "msgr") >= 2; }));
  EXPECT_EQ(client->events->opens, 0);
  EXPECT_EQ(counter(*server, "cm_requests_refused"), 0u);
  EXPECT_EQ(counter(*server, "devices_open"), 0u);
  connection.reset();
  end(client);
  end(server);
}

TEST_F(StackVerbsTest, MessagesTravelByRdma) {
  auto server = serve();
  auto client = make("client.a");
  EXPECT_TRUE(client->stack->supports_one_sided());
  ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
  for (uint64_t tid = 1; tid <= 20; ++tid) ASSERT_TRUE(echo(*client, connection, tid, tid * 2000));
  EXPECT_EQ(counter(*client, "links_rdma"), 1u);
  EXPECT_EQ(counter(*server, "links_rdma"), 1u);
  EXPECT_EQ(counter(*client, "fallbacks"), 0u);
  EXPECT_LE(bytes_pinned(), 2 * (64u << 20));
  end(client);
  end(server);
  EXPECT_EQ(bytes_pinned(), 0u);
}

TEST_F(StackVerbsTest, ConnectionsComeAndGoWithoutLeaks) {
  auto server = serve();
  int fds = 0;
  std::size_t pinned = 0;
  for (int i = 0; i < 20; ++i) {
    auto client = make("client.a");
    ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
    ASSERT_TRUE(echo(*client, connection, 1)) << i;
    EXPECT_EQ(counter(*client, "links_rdma"), 1u);
    connection.reset();
    end(client);
    ASSERT_TRUE(until([&] {
      return server->messenger->connections().empty() || server->events->links_down == i + 1;
    }));
    if (i == 2) {
      fds = test::own_descriptor_count();
      pinned = bytes_pinned();
    }
  }
  // The service thread needs a moment for what a closed link leaves to it.
  EXPECT_TRUE(until([&] {
    return test::own_descriptor_count() <= fds && bytes_pinned() <= pinned;
  })) << test::own_descriptor_count()
      << " fds for " << fds << ", " << bytes_pinned() << " bytes for " << pinned;
  end(server);
}

TEST_F(StackVerbsTest, ADeviceThatIsNotThereMeansTcpOrARefusal) {
  auto server = serve();
  {
    auto client = make("client.a", {{"ms_async_rdma_device_name", "mlx5_7"}});
    ConnectionRef connection = client->messenger->connect(address_, Policy::kLosslessClient);
    ASSERT_TRUE(echo(*client, connection, 1));
    EXPECT_EQ(counter(*client, "links_tcp"), 1u);
    EXPECT_EQ(counter(*client, "fallbacks"), 1u);
    connection.reset();
    end(client);
  }
  end(server);
}

}  // namespace
}  // namespace lunar::msgr::rdma
