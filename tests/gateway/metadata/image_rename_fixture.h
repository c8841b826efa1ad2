// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/name_object.h"
#include "gateway/pool_scrub.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {

using namespace std::chrono_literals;
using objecter::OsdErrc;
using Duration = msgr::EventCenter::Clock::duration;

// Delays what a client sends and receives.
struct DelayedLinks final : msgr::LoopbackInjector {
  Verdict on_send(const msgr::Address&, std::size_t) override {
    Verdict verdict;
    if (delay_of_send) verdict.delay = delay_of_send();
    return verdict;
  }
  Verdict on_receive(const msgr::Address&, std::size_t) override {
    Verdict verdict;
    if (delay_of_receive) verdict.delay = delay_of_receive();
    return verdict;
  }
  std::function<Duration()> delay_of_send;
  std::function<Duration()> delay_of_receive;
};

// A client on a host of its own, whose links a test slows down.
struct FarClient {
  DelayedLinks links;
  std::unique_ptr<msgr::LoopbackStack> network;
  Client* client = nullptr;
  std::shared_ptr<std::optional<Outcome<void>>> result;  // of what it does now

  bool is_busy() const { return result && !result->has_value(); }
};

class ImageRenameTest : public MetadataFixture {
 protected:
  ~ImageRenameTest() override {
    image.reset();
    turn();
    while (!far_clients_.empty()) end_far_client(*far_clients_.front());
  }
  FarClient& make_far_client() {
    FarClient& far = *far_clients_.emplace_back(std::make_unique<FarClient>());
    msgr::LoopbackOptions network;
    network.injector = &far.links;
    far.network = std::make_unique<msgr::LoopbackStack>(network, stack);
    far.client = make_client("far" + std::to_string(++far_made_), *far.network);
    return far;
  }
  void end_far_client(FarClient& far) {
    end_client(far.client);
    std::erase_if(far_clients_, [&](const auto& each) { return each.get() == &far; });
  }

  void begin_rename(FarClient& far, const std::string& from, const std::string& to) {
    begin(far, [&](auto done) { rename_image(*far.client, {"lunar", from}, to, std::move(done)); });
  }
  void begin_create(FarClient& far, const std::string& name) {
    begin(far, [&](auto done) {
      create_image(*far.client, {"lunar", name}, {8 * kMiB, {}},
                   without_value<ImageHeader>(std::move(done)));
    });
  }
  template <typename T, typename Done>
  static auto without_value(Done done) {
    return [done = std::move(done)](Outcome<T> outcome) mutable {
      done(outcome ? Outcome<void>() : Outcome<void>(failure(outcome.error())));
    };
  }
  template <typename Start>
  void begin(FarClient& far, Start start) {
    far.result = std::make_shared<std::optional<Outcome<void>>>();
    start([result = far.result](Outcome<void> outcome) { *result = std::move(outcome); });
  }
  Outcome<void> rename(const std::string& from, const std::string& to) {
    return wait<void>([&](auto done) {
      rename_image(*gateway, {"lunar", from}, to, std::move(done));
    });
  }
  Outcome<void> remove(const std::string& name) {
    return wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", name}, {}, std::move(done));
    });
  }
  Outcome<void> resize(const std::string& name, uint64_t size) {
    return wait<void>([&](auto done) {
      resize_image(*gateway, {"lunar", name}, {.size = size}, {}, std::move(done));
    });
  }
  ScrubReport scrub() {
    const auto report = wait<ScrubReport>([&](auto done) {
      scrub_pool(*gateway, "lunar", {.image = "", .reads_data = false, .only_objects = {}}, {},
                 std::move(done));
    });
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(ScrubReport());
  }
  Outcome<std::string> repair(const ScrubFinding& finding) {
    return wait<std::string>(
        [&](auto done) { repair_finding(*gateway, "lunar", finding, {}, std::move(done)); });
  }
  ImageId make(const std::string& name) {
    const auto made = create(name, 8 * kMiB);
    EXPECT_TRUE(made) << made.error().message;
    return made ? made->id : 0;
  }
  void edit_header(ImageId id, UniqueFunction<void(ImageHeader&)> edit) {
    ASSERT_TRUE(run(update_header(*gateway, pool, id, [&](ImageHeader& header) {
      edit(header);
      return Outcome<void>();
    })));
  }

  // --- what the stores have now, between two turns of the loop ---

  std::string stored(const std::string& object) {
    const auto info = gateway->find_pool("lunar");
    const auto osd = objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object));
    std::string text(8192, '\0');
    osds[osd].store->inner().read({pool, object}, 0,
                                  {reinterpret_cast<std::byte*>(text.data()), text.size()},
                                  [](std::error_code) {});
    return text.substr(0, text.find('\0'));
  }
  // 0: nothing has this name.
  ImageId named(const std::string& name) {
    const std::string object = name_object_of(pool, name).name;
    return decode_name(stored(object), object).value_or(0);
  }
  std::optional<ImageHeader> header(ImageId id) {
    const std::string object = header_object_name(id);
    auto decoded = decode_image_header(stored(object), object);
    return decoded ? std::optional(std::move(*decoded)) : std::nullopt;
  }
  std::string name_in_header(ImageId id) {
    const auto found = header(id);
    return found && found->state == ImageState::kReady ? found->name : std::string();
  }
  std::vector<std::string> names_of(ImageId id, const std::vector<std::string>& names) {
    std::vector<std::string> found;
    for (const std::string& name : names)
      if (named(name) == id) found.push_back(name);
    return found;
  }
  // Notes the images that have been found, and that one of them has lost its name.
  void look_at_names(const std::vector<std::string>& names) {
    for (const std::string& name : names)
      if (const ImageId id = named(name); id != 0) seen_.insert(id);
    for (const ImageId id : seen_) {
      const auto found = header(id);
      if (!found || found->state == ImageState::kRemoving) continue;
      if (named(found->lasting_name()) != id) nameless_.insert(id);
    }
  }

  // --- interruptions ---

  // True: it pauses before the send of that number. False: it was done before.
  template <typename Start>
  bool pauses_at(int send, FarClient& far, Start start, Duration pause = 1s) {
    auto is_paused = std::make_shared<bool>(false);
    auto count = std::make_shared<int>(0);
    far.links.delay_of_send = [is_paused, count, send, pause] {
      if (++*count != send) return Duration();
      *is_paused = true;
      return pause;
    };
    begin(far, std::move(start));
    EXPECT_TRUE(until([&] { return *is_paused || !far.is_busy(); }));
    return *is_paused && far.is_busy();
  }
  // True: it stopped with the send of that number, and nothing of it comes any more. False: it was
  // done before.
  bool stops_at(int send, const std::string& from, const std::string& to) {
    FarClient& far = make_far_client();
    int count = 0;
    far.links.delay_of_send = [&] { return ++count < send ? Duration() : Duration(24h); };
    begin_rename(far, from, to);
    EXPECT_TRUE(until([&] { return count >= send || !far.is_busy(); }));
    const bool was_done = !far.is_busy();
    far.network->kill();
    end_far_client(far);
    // Its replies wait for it until its session ends, in memory that its entity has.
    if (++stopped_ % 8 == 0) time.pass(*center, 2min);
    return !was_done;
  }

  std::set<ImageId> seen_;
  std::set<ImageId> nameless_;
  std::list<std::unique_ptr<FarClient>> far_clients_;

 private:
  int far_made_ = 0;
  int stopped_ = 0;
};

using Names = std::vector<std::string>;

}  // namespace lunar::gateway
