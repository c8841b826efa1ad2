// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/config.h"
#include "common/perf_counters.h"
#include "gateway/client.h"
#include "gateway/image.h"
#include "gateway/image_directory.h"
#include "tests/osd/server/server_fixture.h"
#include "tests/support/borrowed_stack.h"

namespace lunar::gateway {

// Images on three servers in memory, on one loop, in virtual time.
class ImageFixture : public osd::ServerFixture {
 protected:
  using Settings = std::vector<std::pair<std::string, std::string>>;
  // `settings` are the clients' configuration, beside what every test needs.
  explicit ImageFixture(const msgr::LoopbackOptions& network = {}, Settings settings = {})
      : ServerFixture(network), settings_(std::move(settings)) {
    options.watches.timeout = std::chrono::milliseconds(200);
    for (osd::OsdId id = 0; id < 3; ++id) start(id);
    connect_client("maker");
    make_pool("lunar");
    gateway = make_client("gateway");
  }
  ~ImageFixture() override {
    image.reset();
    turn();
    while (!clients_.empty()) end_client(clients_.front().get());
  }
  // Shuts it down and destroys it.
  void end_client(Client* client) {
    bool is_shut_down = false;
    client->shutdown([&is_shut_down] { is_shut_down = true; });
    EXPECT_TRUE(until([&] { return is_shut_down; }));
    std::erase_if(clients_, [client](const auto& each) { return each.get() == client; });
  }

  Client* make_client(const std::string& instance) { return make_client(instance, stack); }
  Client* make_client(const std::string& instance, msgr::NetworkStack& network,
                      uint64_t nonce = 0) {
    auto config = std::make_unique<Config>();
    for (const auto& [name, value] : {std::pair{"mon_host", "127.0.0.1:6800"},
                                      {"auth_client_required", "none"},
                                      {"lunar_header_poll", "1h"},  // notifies do
                                      {"lunar_lock_timeout", "50ms"},
                                      {"objecter_op_timeout", "2s"}}) {
      EXPECT_TRUE(config->set(name, value));
    }
    for (const auto& [name, value] : settings_) EXPECT_TRUE(config->set(name, value)) << name;
    auto made = Client::create(*config, {instance, nonce},
                               std::make_unique<msgr::BorrowedStack>(network), *center, perf_);
    EXPECT_TRUE(made) << made.error().message;
    configs_.push_back(std::move(config));
    clients_.push_back(std::move(*made));
    Client* client = clients_.back().get();
    EXPECT_TRUE(until([&] { return client->objecter().map() != nullptr; }));
    return client;
  }

  // Runs start(done) to its end.
  template <typename T, typename Start>
  Outcome<T> wait(Start start) {
    auto result = std::make_shared<std::optional<Outcome<T>>>();
    start([result](Outcome<T> outcome) { *result = std::move(outcome); });
    if (!until([&] { return result->has_value(); })) {
      return failure(std::errc::timed_out, "the call did not end");
    }
    return std::move(**result);
  }
  Outcome<ImageHeader> create(const std::string& name, uint64_t size, StripeLayout layout = {}) {
    return wait<ImageHeader>([&](auto done) {
      create_image(*gateway, {"lunar", name}, {size, layout}, std::move(done));
    });
  }
  Outcome<std::shared_ptr<Image>> create_and_import(const std::string& name) {
    const auto created = wait<ImageHeader>([&](auto done) {
      create_image(*gateway, {"lunar", name}, {8u << 20, {}, true}, std::move(done));
    });
    if (!created) return failure(created.error());
    return open(*gateway, name, {.is_import = true});
  }
  Outcome<std::shared_ptr<Image>> open(Client& client, const std::string& name,
                                       const OpenOptions& options = {}) {
    return wait<std::shared_ptr<Image>>([&](auto done) {
      Image::open(client, {"lunar", name}, options, std::move(done));
    });
  }
  void create_and_open(uint64_t size, StripeLayout layout = {}, const OpenOptions& options = {}) {
    ASSERT_TRUE(create("disk", size, layout));
    auto opened = open(*gateway, "disk", options);
    ASSERT_TRUE(opened) << opened.error().message;
    image = std::move(*opened);
  }
  Outcome<void> close(std::shared_ptr<Image> closing) {
    return wait<void>([&](auto done) { closing->close(std::move(done)); });
  }

  // Runs one IO to its end.
  template <typename Start>
  IoResult io(Start start) {
    std::optional<IoResult> result;
    start([&result](const IoResult& io) { result = io; });
    EXPECT_FALSE(result) << "done ran inside the submitting call";
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result ? *result : IoResult{};
  }
  std::error_code write(uint64_t offset, const std::string& data) {
    return io([&](auto done) { image->write(offset, as_const_bytes(data), {}, done); }).error;
  }
  std::string read(uint64_t offset, std::size_t length) {
    std::string out(length, '?');
    const IoResult result = io([&](auto done) {
      image->read(offset, {reinterpret_cast<std::byte*>(out.data()), out.size()}, {}, done);
    });
    EXPECT_FALSE(result.error) << result.error.message();
    return out;
  }

  Client* gateway = nullptr;
  std::shared_ptr<Image> image;
  PerfRegistry perf_;  // of the clients

 private:
  const Settings settings_;
  std::vector<std::unique_ptr<Config>> configs_;
  std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace lunar::gateway
