// SPDX-License-Identifier: LGPL-2.1-or-later
// IOs of 4 KiB through the object path, for io_cost.py to count what they cost: the gateway's
// library and one server with a store in memory, on one loop in one thread, over a Unix socket,
// which has what was sent as soon as it is sent. Time stands still, so no timer runs, and the same
// is done in each run. Before and after each measurement a system call that nobody else makes is a
// mark, and callgrind, if it runs this, is asked for a dump of its own.
//
//   io_cost FOLDER    (for the socket)

#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/perf_counters.h"
#include "gateway/client.h"
#include "gateway/image.h"
#include "gateway/image_directory.h"
#include "msgr/messenger.h"
#include "osd/map/map_authority.h"
#include "osd/server/osd_server.h"
#include "osd/store/mem_store.h"
#include "tests/support/virtual_time.h"

namespace lunar::bench {
namespace {

constexpr uint64_t kImageBytes = 4u << 20;
constexpr std::size_t kIoBytes = 4096;
constexpr uint64_t kBlocks = kImageBytes / kIoBytes;
constexpr uint32_t kMeasuredIos = 256;

// What must not happen ends the program: then there is nothing to count.
void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "io_cost: %s\n", what.c_str());
  std::exit(2);
}

template <typename T>
T value_of(Outcome<T> outcome) {
  expect(outcome.has_value(), outcome ? "" : outcome.error().message);
  return std::move(*outcome);
}

// The cluster, and one image of one object.
class Bed {
 public:
  explicit Bed(const std::string& folder) : center_(make_center(time_)) {
    for (Config* config : {&server_config_, &client_config_}) {
      for (const auto& [name, value] : {std::pair{"ms_type", "async+local"},
                                        {"run_dir", folder.c_str()},
                                        {"auth_client_required", "none"}})
        expect(config->set(name, value).has_value(), name);
    }
    start_server();
    expect(client_config_.set("mon_host", address_.to_string()).has_value(), "mon_host");
    client_ =
        value_of(gateway::Client::create(client_config_, {"io_cost", 1}, *center_, client_perf_));
    wait([this] { return client_->objecter().map() != nullptr; });
    open_image();
  }
  ~Bed() {
    bool is_over = false;
    std::exchange(image_, nullptr)->close([&](const Outcome<void>&) { is_over = true; });
    wait([&] { return is_over; });
    is_over = false;
    client_->shutdown([&] { is_over = true; });
    wait([&] { return is_over; });
    client_.reset();
    is_over = false;
    server_->shutdown([&] { is_over = true; });
    wait([&] { return is_over; });
  }

  // `count` IOs at random places, `depth` of them at a time.
  void run(bool is_write, uint32_t depth, uint32_t count) {
    to_start_ = to_end_ = count;
    buffers_.resize(depth * kIoBytes);
    for (uint32_t slot = 0; slot < depth; ++slot) start_io(is_write, slot);
    wait([this] { return to_end_ == 0; });
  }

 private:
  static std::unique_ptr<msgr::EventCenter> make_center(test::VirtualTime& time) {
    msgr::EventCenter::Options options;
    options.time = &time;
    auto made = msgr::EventCenter::create(options);
    expect(made.has_value(), "no event loop can be made");
    return std::move(*made);
  }
  void wait(const std::function<bool()>& is_over) {
    expect(time_.turn_until(*center_, is_over), "something did not end");
  }

  void start_server() {
    stack_ = value_of(msgr::make_network_stack(server_config_));
    osd::MemStore::Options in_memory;
    in_memory.identity = {Uuid::random(), Uuid::random(), 0};
    store_ = std::make_unique<osd::MemStore>(*center_, stack_->buffers(), in_memory);
    std::vector<std::byte> map;
    objecter::encode(osd::make_first_map(in_memory.identity.fsid, 0, in_memory.identity.store),
                     map);
    store_->put_record(osd::kMapRecord, std::move(map), [](std::error_code) {});
    center_->run_until_idle();
    osd::OsdServerOptions options;
    options.auth_required = false;
    server_ = value_of(osd::OsdServer::create(*center_, *store_, options, server_perf_));
    msgr::MessengerOptions messenger;
    messenger.auth_required = false;
    messenger.entity = messenger.instance = "osd.0";
    bool is_up = false;
    server_->start(*stack_, messenger, nullptr, {{*msgr::Address::parse("127.0.0.1:0")}, {}},
                   [&](Outcome<msgr::Address> ready) {
                     address_ = value_of(std::move(ready));
                     is_up = true;
                   });
    wait([&] { return is_up; });
  }

  void open_image() {
    bool has_pool = false;
    client_->objecter().command(-1, R"({"prefix": "pool create", "pool": "rbd"})",
                                std::chrono::seconds(5),
                                [&](const Outcome<std::string>&) { has_pool = true; });
    wait([&] { return has_pool && !client_->objecter().map()->pools.empty(); });
    std::optional<Outcome<gateway::ImageHeader>> made;
    gateway::create_image(*client_, {"rbd", "disk"}, {kImageBytes, {}},
                          [&](Outcome<gateway::ImageHeader> header) { made = std::move(header); });
    wait([&] { return made.has_value(); });
    value_of(std::move(*made));
    std::optional<Outcome<std::shared_ptr<gateway::Image>>> opened;
    gateway::Image::open(*client_, {"rbd", "disk"}, {},
                         [&](Outcome<std::shared_ptr<gateway::Image>> image) { opened = image; });
    wait([&] { return opened.has_value(); });
    image_ = value_of(std::move(*opened));
  }

  void start_io(bool is_write, uint32_t slot) {
    if (to_start_ == 0) return;
    --to_start_;
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    const uint64_t offset = (random_ >> 33) % kBlocks * kIoBytes;
    const Bytes memory = Bytes(buffers_).subspan(slot * kIoBytes, kIoBytes);
    const auto done = [this, is_write, slot](const gateway::IoResult& result) {
      expect(!result.error, result.error.message());
      --to_end_;
      start_io(is_write, slot);
    };
    gateway::IoOptions options;
    options.io_id = client_->next_io_id();
    if (is_write) {
      image_->write(offset, memory, options, done);
    } else {
      image_->read(offset, memory, options, done);
    }
  }

  test::VirtualTime time_;
  std::unique_ptr<msgr::EventCenter> center_;
  Config server_config_, client_config_;
  PerfRegistry server_perf_, client_perf_;
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::unique_ptr<osd::MemStore> store_;
  std::unique_ptr<osd::OsdServer> server_;
  msgr::Address address_;
  std::unique_ptr<gateway::Client> client_;
  std::shared_ptr<gateway::Image> image_;
  std::vector<std::byte> buffers_;
  uint32_t to_start_ = 0;
  uint32_t to_end_ = 0;
  uint64_t random_ = 1;
};

void mark() { syscall(SYS_getppid); }

int run(const std::string& folder) {
  Bed bed(folder);
  bed.run(true, 32, kBlocks);  // all pages are there, and memory is warm
  struct Workload {
    const char* name;
    bool is_write;
    uint32_t depth;
  };
  for (const Workload& each : {Workload{"write 1", true, 1}, Workload{"write 32", true, 32},
                               Workload{"read 1", false, 1}, Workload{"read 32", false, 32}}) {
    bed.run(each.is_write, each.depth, kMeasuredIos);
    std::printf("%s %u\n", each.name, kMeasuredIos);
    std::fflush(stdout);
    mark();
    CALLGRIND_ZERO_STATS;
    bed.run(each.is_write, each.depth, kMeasuredIos);
    CALLGRIND_DUMP_STATS_AT(each.name);
    mark();
  }
  return 0;
}

}  // namespace
}  // namespace lunar::bench

int main(int argc, char** argv) {
  if (argc == 2) return lunar::bench::run(argv[1]);
  std::fprintf(stderr, "usage: io_cost FOLDER\n");
  return 2;
}
