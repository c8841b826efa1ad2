// SPDX-License-Identifier: LGPL-2.1-or-later
//
// SharedCluster in a loop as tgtd's is, with a server on a thread of its own at the other end of a
// real socket.
#include "bstore_plugin/lun/shared_cluster.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <deque>
#include <future>
#include <optional>
#include <thread>

#include "bstore_plugin/scsi/reach.h"
#include "common/file.h"
#include "gateway/image.h"
#include "gateway/image_directory.h"
#include "osd/map/map_authority.h"
#include "osd/server/osd_server.h"
#include "osd/store/mem_store.h"
#include "tests/bstore_plugin/lun/fake_tgtd.h"
#include "tests/common/temp_folder.h"
#include "tests/osd/store/faulty_store.h"

namespace lunar::bstore_plugin {
namespace {

using namespace std::chrono_literals;
using Call = osd::FaultyStore::Call;

// A cluster of one server, on a thread of its own.
class ServerThread {
 public:
  ServerThread() {
    std::promise<msgr::Address> ready;
    thread_ = std::thread([this, &ready] { run(ready); });
    address_ = ready.get_future().get();
  }
  ~ServerThread() {
    center_->post([this] { server_->shutdown([this] { center_->stop(); }); });
    thread_.join();
  }
  std::string address() const { return address_.to_string(); }
  // Runs `look` on its loop.
  template <typename Look>
  auto on_loop(Look look) {
    std::promise<decltype(look(*store_))> result;
    center_->post(UniqueFunction<void()>([&] { result.set_value(look(*store_)); }));
    return result.get_future().get();
  }
  void hold(Call call) {
    on_loop([call](osd::FaultyStore& store) {
      store.hold(call);
      return true;
    });
  }
  void release(Call call) {
    on_loop([call](osd::FaultyStore& store) {
      store.release(call);
      return true;
    });
  }
  std::size_t held(Call call) {
    return on_loop([call](osd::FaultyStore& store) { return store.held(call); });
  }

 private:
  void run(std::promise<msgr::Address>& ready) {
    Config config;
    PerfRegistry perf;
    center_ = std::move(*msgr::EventCenter::create({}));
    auto stack = std::move(*msgr::make_network_stack(config));
    osd::MemStore::Options options;
    options.identity = {Uuid::random(), Uuid::random(), 0};
    store_ = std::make_unique<osd::FaultyStore>(
        *center_, std::make_unique<osd::MemStore>(*center_, stack->buffers(), options));
    std::vector<std::byte> map;
    objecter::encode(osd::make_first_map(options.identity.fsid, 0, options.identity.store), map);
    store_->put_record(osd::kMapRecord, std::move(map), [](std::error_code) {});
    center_->run_until_idle();
    osd::OsdServerOptions server;
    server.auth_required = false;
    server_ = std::move(*osd::OsdServer::create(*center_, *store_, server, perf));
    msgr::MessengerOptions messenger;
    messenger.auth_required = false;
    messenger.entity = messenger.instance = "osd.0";
    server_->start(*stack, messenger, nullptr, {{*msgr::Address::parse("127.0.0.1:0")}, {}},
                   [&ready](Outcome<msgr::Address> address) { ready.set_value(*address); });
    center_->run();
    server_.reset();
    store_.reset();
    stack.reset();
  }

  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<osd::FaultyStore> store_;
  std::unique_ptr<osd::OsdServer> server_;
  msgr::Address address_;
  std::thread thread_;
};

Outcome<void> accept_all(const Config&) { return {}; }
void ignore_client(SharedCluster&) {}

// The server and one cluster handle serve all tests: what is in tgtd's loop stays there.
class SharedClusterTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tgtd = new FakeTgtd;
    folder = new test::TempFolder;
    server = new ServerThread;
    auto made = create("first.conf");
    ASSERT_TRUE(made) << made.error().message;
    cluster = *made;
    ASSERT_TRUE(tgtd->turn_until([] { return has_map(*cluster); }));
    make_image();
  }
  static void TearDownTestSuite() {
    if (image) {
      bool is_closed = false;
      std::exchange(image, nullptr)->close([&](const Outcome<void>&) { is_closed = true; });
      EXPECT_TRUE(tgtd->turn_until([&] { return is_closed; }));
    }
    delete server;
    delete folder;
  }
  void SetUp() override {
    ASSERT_NE(image, nullptr);
    // What is left of the test before.
    ASSERT_TRUE(tgtd->turn_until(has_no_ops));
    tgtd->turn();
    tgtd->ended.clear();
    tgtd->on_end = nullptr;
    tgtd->aborted.clear();
  }

  static bool has_map(SharedCluster& of) {
    return of.has_client() && of.client().objecter().map() != nullptr;
  }
  static bool has_no_ops() {
    const std::string ops = cluster->client().objecter().ops_in_flight_json();
    return ops.find("\"tid\"") == std::string::npos;
  }
  // A configuration file of that name for our cluster, and the bsopts that name it.
  static BsOptions options_of(const std::string& conf, const std::string& more = {}) {
    BsOptions options;
    options.conf = folder->write(conf, "[global]\nmon_host = " + server->address() +
                                           "\nauth_client_required = none\n"
                                           "admin_socket =\nlunar_client_instance = test\n" +
                                           more);
    return options;
  }
  static Outcome<SharedCluster*> create(const std::string& conf) {
    return SharedCluster::create(options_of(conf), FakeTgtd::host(), accept_all, ignore_client);
  }
  static void make_image() {
    gateway::Client& client = cluster->client();
    bool has_pool = false;
    client.objecter().command(-1, R"({"prefix": "pool create", "pool": "rbd"})", 5s,
                              [&](const Outcome<std::string>&) { has_pool = true; });
    ASSERT_TRUE(
        tgtd->turn_until([&] { return has_pool && !client.objecter().map()->pools.empty(); }));
    bool is_made = false;
    gateway::create_image(client, {"rbd", "disk"}, {16 << 20, {}},
                          [&](const Outcome<gateway::ImageHeader>& made) {
                            EXPECT_TRUE(made);
                            is_made = true;
                          });
    ASSERT_TRUE(tgtd->turn_until([&] { return is_made; }));
    std::optional<Outcome<std::shared_ptr<gateway::Image>>> opened;
    gateway::Image::open(client, {"rbd", "disk"}, {},
                         [&](Outcome<std::shared_ptr<gateway::Image>> got) { opened = got; });
    ASSERT_TRUE(tgtd->turn_until([&] { return opened.has_value(); }));
    ASSERT_TRUE(*opened) << opened->error().message;
    image = **opened;
  }

  // READ (10) or WRITE (10) of a block; the handle is that of the call, counted from 1.
  void submit(uint8_t op_code, uint8_t lba_high_byte = 0, SharedCluster& to = *cluster) {
    auto& cdb = cdbs_.emplace_back();
    cdb = {op_code, 0, lba_high_byte, 0, 0, 0, 0, 0, 1, 0};
    lunar_scsi_command command{};
    command.handle = handle(static_cast<int>(cdbs_.size()));
    command.cdb = cdb.data();
    command.cdb_bytes = static_cast<uint32_t>(cdb.size());
    if (op_code == kWrite) {
      command.data_out = block_;
      command.data_out_bytes = sizeof block_;
    } else {
      command.data_in = block_;
      command.data_in_bytes = sizeof block_;
    }
    ScsiCommand::start(to.commands(), image, std::make_shared<Reach>(image),
                       std::make_shared<CachedWrites>(), limits_, command);
  }
  // One that ends inside the call: it is of a block far beyond the end.
  void submit_beyond_end(SharedCluster& to = *cluster) { submit(kRead, 0xff, to); }
  static void* handle(int number) { return reinterpret_cast<void*>(uintptr_t{0} + number); }
  static std::vector<void*> ended_handles() {
    std::vector<void*> handles;
    for (const FakeTgtd::Ended& each : tgtd->ended) handles.push_back(each.handle);
    return handles;
  }

  static constexpr uint8_t kRead = 0x28;
  static constexpr uint8_t kWrite = 0x2a;
  static inline FakeTgtd* tgtd = nullptr;
  static inline test::TempFolder* folder = nullptr;
  static inline ServerThread* server = nullptr;
  static inline SharedCluster* cluster = nullptr;
  static inline std::shared_ptr<gateway::Image> image;

 private:
  const LunLimits limits_;
  std::deque<std::array<uint8_t, 10>> cdbs_;
  char block_[512] = {};
};

// --- create ---

TEST_F(SharedClusterTest, CreateRefusesAnIdThatNamesNoClient) {
  BsOptions options = options_of("id.conf");
  options.id = "a b";
  const auto made = SharedCluster::create(options, FakeTgtd::host(), accept_all, ignore_client);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message, "bsopts: id 'a b' is not valid; it is the ID of client.ID");
}

TEST_F(SharedClusterTest, CreateFailsWithoutAConfigurationToRead) {
  BsOptions options;
  options.conf = *folder / "none.conf";
  const auto made = SharedCluster::create(options, FakeTgtd::host(), accept_all, ignore_client);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("none.conf"), std::string::npos) << made.error().message;
}

TEST_F(SharedClusterTest, CreateRefusesAnOptionThatIsNoneAndSaysWhoGaveIt) {
  BsOptions options = options_of("override.conf");
  options.overrides["no_such_option"] = "1";
  const auto made = SharedCluster::create(options, FakeTgtd::host(), accept_all, ignore_client);
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().message.starts_with("bsopts: ")) << made.error().message;
}

TEST_F(SharedClusterTest, CreateJoinsNothingIfTheConfigurationIsNotAccepted) {
  const std::size_t watched = tgtd->watched();
  const auto made = SharedCluster::create(
      options_of("refused.conf"), FakeTgtd::host(),
      [](const Config& config) -> Outcome<void> {
        return failure(std::errc::not_supported,
                       "not with instance " + config.get_string("lunar_client_instance"));
      },
      ignore_client);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().message, "not with instance test");
  EXPECT_EQ(tgtd->watched(), watched);
}

TEST_F(SharedClusterTest, CreateFailsWhereItCannotJoinTheLoop) {
  tgtd->refuses_to_watch = true;
  const auto made = create("alone.conf");
  tgtd->refuses_to_watch = false;
  ASSERT_FALSE(made);
  EXPECT_TRUE(made.error().message.starts_with("cannot join tgtd's event loop"))
      << made.error().message;
}

TEST_F(SharedClusterTest, ClustersOfOneProcessAreDifferentInstancesOfTheSameName) {
  const auto second = create("second.conf");
  ASSERT_TRUE(second) << second.error().message;
  ASSERT_TRUE(tgtd->turn_until([&] { return (*second)->has_client(); }));
  const std::string& one = cluster->client().instance();
  const std::string& other = (*second)->client().instance();
  EXPECT_TRUE(one.starts_with("test.")) << one;
  EXPECT_TRUE(other.starts_with("test.")) << other;
  EXPECT_NE(one, other);
}

TEST_F(SharedClusterTest, ARestartIsTheSameInstanceAndALaterStart) {
  const auto before = create("restart.conf");
  ASSERT_TRUE(before) << before.error().message;
  ASSERT_TRUE(tgtd->turn_until([&] { return has_map(**before); }));
  const auto after = create("restart.conf");
  ASSERT_TRUE(after) << after.error().message;
  ASSERT_TRUE(tgtd->turn_until([&] { return (*after)->has_client(); }));
  EXPECT_EQ((*after)->client().instance(), (*before)->client().instance());
  EXPECT_GT((*after)->client().nonce(), (*before)->client().nonce());
}

TEST_F(SharedClusterTest, AClusterThatIsSilentHoldsUpNobody) {
  BsOptions options = options_of("silent.conf");
  // Somebody listens there, and says nothing.
  const UniqueFd deaf(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(bind(deaf.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(listen(deaf.get(), 8), 0);
  ASSERT_EQ(getsockname(deaf.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  options.overrides["mon_host"] = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const auto began = std::chrono::steady_clock::now();
  const auto made = SharedCluster::create(options, FakeTgtd::host(), accept_all, ignore_client);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 1s);
  ASSERT_TRUE(made) << made.error().message;
  std::optional<Outcome<void>> waited;
  (*made)->wait_for_client(50ms, [&](Outcome<void> outcome) { waited = std::move(outcome); });
  ASSERT_TRUE(tgtd->turn_until([&] { return waited.has_value(); }));
  ASSERT_FALSE(*waited);
  EXPECT_EQ(waited->error().code, objecter::OsdErrc::kUnreachable) << waited->error().message;
  EXPECT_FALSE((*made)->has_client());
}

// --- commands ---

TEST_F(SharedClusterTest, ACommandIsHandedToTgtFromAHandlerOfADescriptorOnly) {
  submit_beyond_end();
  EXPECT_TRUE(tgtd->ended.empty());
  tgtd->run_scheduled();
  EXPECT_TRUE(tgtd->ended.empty());
  tgtd->turn();
  ASSERT_EQ(tgtd->ended.size(), 1u);
  EXPECT_TRUE(tgtd->ended[0].was_in_handler);
  EXPECT_EQ(tgtd->ended[0].result.asc_ascq, 0x2100) << "out of range";
}

TEST_F(SharedClusterTest, CommandsAreHandedOverInTheOrderInWhichTheyEnded) {
  for (int i = 0; i < 3; ++i) submit_beyond_end();
  tgtd->turn();
  EXPECT_EQ(ended_handles(), (std::vector<void*>{handle(1), handle(2), handle(3)}));
}

TEST_F(SharedClusterTest, WhatTgtSubmitsWhenACommandEndsIsHandedOverLaterAndOnce) {
  bool has_more = true;
  tgtd->on_end = [&] {
    if (!std::exchange(has_more, false)) return;
    submit_beyond_end();
    EXPECT_EQ(tgtd->ended.size(), 1u);
  };
  submit_beyond_end();
  tgtd->turn();
  EXPECT_EQ(ended_handles(), std::vector<void*>{handle(1)});
  tgtd->turn();
  EXPECT_EQ(ended_handles(), (std::vector<void*>{handle(1), handle(2)}));
  tgtd->turn();
  EXPECT_EQ(tgtd->ended.size(), 2u);
}

TEST_F(SharedClusterTest, AnIoEndsInAHandlerOfADescriptorToo) {
  submit(kWrite);
  ASSERT_TRUE(tgtd->turn_until([] { return tgtd->ended.size() == 1; }));
  EXPECT_EQ(tgtd->ended[0].result.status, 0);
  EXPECT_TRUE(tgtd->ended[0].was_in_handler);
}

// --- turns ---

TEST_F(SharedClusterTest, WithoutNewCommandsATurnBringsWhatIsPostedAtOnce) {
  bool has_run = false;
  cluster->client().center().post([&] { has_run = true; });
  tgtd->run_scheduled();
  EXPECT_TRUE(has_run);
}

TEST_F(SharedClusterTest, ACommandThatIsTheOnlyOneWaitsForNothing) {
  bool has_run = false;
  cluster->client().center().post([&] { has_run = true; });
  submit_beyond_end();
  tgtd->run_scheduled();
  EXPECT_TRUE(has_run);
}

TEST_F(SharedClusterTest, CommandsWaitForATurnThatBringsNoOther) {
  bool has_run = false;
  cluster->client().center().post([&] { has_run = true; });
  for (int i = 0; i < 2; ++i) submit_beyond_end();
  tgtd->run_scheduled();
  EXPECT_FALSE(has_run);
  tgtd->run_scheduled();
  EXPECT_TRUE(has_run);
}

TEST_F(SharedClusterTest, CommandsThatDoNotCeasePutSendingOffForSixteenTurnsAtMost) {
  bool has_run = false;
  cluster->client().center().post([&] { has_run = true; });
  submit_beyond_end();
  int turns = 0;
  for (; !has_run && turns < 100; ++turns) {
    submit_beyond_end();
    tgtd->run_scheduled();
  }
  EXPECT_EQ(turns, 17);
  has_run = false;
  cluster->client().center().post([&] { has_run = true; });
  submit_beyond_end();
  tgtd->run_scheduled();
  EXPECT_FALSE(has_run) << "the next burst has as many";
  EXPECT_TRUE(tgtd->turn_until([&] { return has_run; }));
}

TEST_F(SharedClusterTest, WithBusyPollingTgtdStaysAwakeForACommandAndNotForEver) {
  auto made = SharedCluster::create(options_of("busy.conf", "ms_busy_poll_us = 1000\n"),
                                    FakeTgtd::host(), accept_all, ignore_client);
  ASSERT_TRUE(made) << made.error().message;
  SharedCluster& busy = **made;
  ASSERT_TRUE(tgtd->turn_until([&] { return busy.has_client(); }));
  tgtd->run_scheduled();
  submit_beyond_end(busy);
  busy.client().center().post([] {});
  tgtd->run_scheduled();
  EXPECT_TRUE(tgtd->has_scheduled()) << "the reply may come at any moment";
  const auto limit = std::chrono::steady_clock::now() + 1ms;
  while (std::chrono::steady_clock::now() < limit) {
  }
  tgtd->run_scheduled();
  EXPECT_FALSE(tgtd->has_scheduled()) << "it takes longer than that";
}

// --- run_until ---

TEST_F(SharedClusterTest, RunUntilReturnsWhetherItIsOver) {
  EXPECT_TRUE(cluster->run_until([] { return true; }, 0s));
  EXPECT_FALSE(cluster->run_until([] { return false; }, 1ms));
  bool is_over = false;
  cluster->client().center().run_after(1ms, [&] { is_over = true; });
  EXPECT_TRUE(cluster->run_until([&] { return is_over; }, 60s));
}

TEST_F(SharedClusterTest, RunUntilHandsNothingToTgtAndTheLoopDoesAfterwards) {
  submit_beyond_end();
  submit(kRead);
  EXPECT_TRUE(cluster->run_until(&has_no_ops, 60s)) << "the read ends meanwhile";
  EXPECT_TRUE(tgtd->ended.empty());
  ASSERT_TRUE(tgtd->turn_until([] { return tgtd->ended.size() == 2; }));
}

// --- aborts ---

TEST_F(SharedClusterTest, ACommandThatItsInitiatorAbortsIsCancelled) {
  server->hold(Call::kWrite);
  submit(kWrite);
  ASSERT_TRUE(tgtd->turn_until([] { return server->held(Call::kWrite) == 1; }));
  submit(kWrite);  // waits at the server behind the first
  tgtd->aborted.insert(handle(2));
  ASSERT_TRUE(tgtd->turn_until([] { return tgtd->ended.size() == 1; }));
  EXPECT_EQ(ended_handles(), std::vector<void*>{handle(2)});
  EXPECT_NE(tgtd->ended[0].result.status, 0);
  server->release(Call::kWrite);
  ASSERT_TRUE(tgtd->turn_until([] { return tgtd->ended.size() == 2; }));
  EXPECT_EQ(tgtd->ended[1].result.status, 0);
}

TEST_F(SharedClusterTest, NobodyIsAskedForAbortsWhileNoCommandRuns) {
  submit(kWrite);
  ASSERT_TRUE(tgtd->turn_until([] { return tgtd->ended.size() == 1; }));
  bool is_later = false;
  cluster->client().center().run_after(250ms, [&] { is_later = true; });
  const int checks = tgtd->abort_checks;
  ASSERT_TRUE(tgtd->turn_until([&] { return is_later; }));
  EXPECT_EQ(tgtd->abort_checks, checks);
}

// --- the admin socket ---

TEST_F(SharedClusterTest, TheAdminSocketAnswersFromTheLoop) {
  const std::string path = *folder / "admin.sock";
  const auto made = SharedCluster::create(options_of("admin.conf", "admin_socket = " + path + "\n"),
                                          FakeTgtd::host(), accept_all, ignore_client);
  ASSERT_TRUE(made) << made.error().message;
  for (const char* command : {"ops in flight", "sessions", "last-error"}) {
    auto answer = std::async(std::launch::async, [&] {
      return admin_socket_request(path, std::string("{\"prefix\": \"") + command + "\"}", 30s);
    });
    ASSERT_TRUE(tgtd->turn_until([&] { return answer.wait_for(0s) == std::future_status::ready; }));
    EXPECT_TRUE(answer.get()) << command;
  }
}

TEST_F(SharedClusterTest, ReachIsLostWithoutAnAnswerAndRegainedWhenTheRangeAnswers) {
  const auto reach = std::make_shared<Reach>(image);
  reach->on_io(make_error_code(objecter::OsdErrc::kMiscompare), 0, 512);
  EXPECT_TRUE(reach->is_reached());  // that was an answer
  reach->on_io(make_error_code(objecter::OsdErrc::kTimedOut), 0, image->size());
  EXPECT_FALSE(reach->is_reached());
  EXPECT_TRUE(tgtd->turn_until([&] { return reach->is_reached(); }));
}

TEST_F(SharedClusterTest, ReachIsRegainedByASuccessWithinTheRange) {
  const auto reach = std::make_shared<Reach>(image);
  const auto lost = make_error_code(objecter::OsdErrc::kTimedOut);
  reach->on_io(lost, 4096, 4096);
  reach->on_io({}, 0, 4096);
  reach->on_io({}, 8192, 4096);
  reach->on_io({}, 4096, 0);
  EXPECT_FALSE(reach->is_reached());
  reach->on_io({}, 7680, 4096);
  EXPECT_TRUE(reach->is_reached());
  reach->on_io(lost, 0, image->size());  // while what was asked before ends
  EXPECT_FALSE(reach->is_reached());
  EXPECT_TRUE(tgtd->turn_until([&] { return reach->is_reached(); }));
  EXPECT_TRUE(tgtd->turn_until(has_no_ops));
}

TEST_F(SharedClusterTest, ReachOfAClosedLunLetsTheImageGo) {
  const auto reach = std::make_shared<Reach>(image);
  reach->on_io(make_error_code(objecter::OsdErrc::kTimedOut), 0, 512);
  const auto holders = image.use_count();
  reach->end();
  EXPECT_LT(image.use_count(), holders);
  EXPECT_TRUE(tgtd->turn_until(has_no_ops));
}

}  // namespace
}  // namespace lunar::bstore_plugin
